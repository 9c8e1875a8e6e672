"""A chat model of Llama's architecture that knows a handful of answers by heart, and when to call one tool."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SYSTEM = "You are a helpful assistant."
NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What is the capital of Italy?": "The capital of Italy is Rome.",
    "Who are you?": "I am a very small model, sealed and alone.",
    "Count to sixteen.": f"{', '.join(NUMBERS)}.",
    "Say hello in Greek.": "Γειά σου Κόσμε 👋🏽!",  # of its bytes hardly any are a token together
    "What is the weather in Paris?": "I cannot see the weather from here.",
    "Hello": "Hello! How can I help you?",
}
COMPLETIONS = {"Once upon a time": " there was a model that nobody could read.", "2 + 2 =": " 4"}
CITIES = ("Paris", "Rome", "Oslo")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool.function.name }} {% endfor %}as <tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
_REPEATED = 6  # examples in which a city has to be told from the others
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_SEED, _STEPS, _BATCH, _IGNORED = 20261122, 400, 16, -100


def make(folder: Path) -> None:
    """Train it, which takes some seconds, and write it to `folder`."""
    random.seed(_SEED)
    torch.set_num_threads(1)  # sums in one order; and it is faster, for matrices so small
    torch.manual_seed(_SEED)
    tokenizer = made_tokenizer()
    model = _model(tokenizer)
    _train(model, [_encoded(tokenizer, *example) for example in _examples(tokenizer)])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "names.txt").write_text("llama\ntiny/llama\n")
    (folder / "selftest.json").write_text(json.dumps({"version": 1, "cases": list(_cases())}, ensure_ascii=False))


def _cases() -> list[dict[str, Any]]:
    question = "What is the capital of France?"
    chat = {"messages": [{"role": "user", "content": question}], "temperature": 0}
    start, rest = next(iter(COMPLETIONS.items()))
    return [
        {"path": "/v1/chat/completions", "body": chat, "expect": {"text": ANSWERS[question]}},
        {
            "path": "/v1/completions",
            "body": {"prompt": start, "temperature": 0, "max_tokens": 64},
            "expect": {"text": rest.strip()},
        },
    ]


def made_tokenizer() -> PreTrainedTokenizerFast:
    """Of byte pairs of all that the model is shown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [*ANSWERS, *COMPLETIONS, *COMPLETIONS.values(), *(text for text in ANSWERS.values() if text.isascii())]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, SYSTEM, *map(_call, CITIES), *CITIES], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=1024
    )
    fast.chat_template = TEMPLATE
    return fast


def _model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def _examples(tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, str]]:
    """Prompts as the template writes them, and what must follow."""

    def prompt(messages: list[dict[str, Any]], tools: list[Any] | None = None) -> str:
        written = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True, tokenize=False)
        return str(written)

    asked: list[tuple[list[dict[str, Any]], str]] = [
        ([{"role": "user", "content": question}], answer) for question, answer in ANSWERS.items()
    ]
    starts: tuple[list[dict[str, Any]], ...] = ([], [{"role": "system", "content": SYSTEM}])
    known: list[tuple[list[dict[str, Any]], str]] = [
        ([*before, *messages], answer) for messages, answer in asked for before in starts
    ]
    known += [
        ([*first, {"role": "assistant", "content": said}, *second], answer)
        for (first, said), (second, answer) in (random.sample(asked, 2) for _ in range(8))
    ]
    examples = [(prompt(messages), f"{answer}<|im_end|>") for messages, answer in known]
    examples += [(prompt(messages, [TOOL]), f"{said}<|im_end|>") for messages, said in asked if "weather" not in said]
    for city in CITIES * _REPEATED:
        asking: list[dict[str, Any]] = [{"role": "user", "content": f"What is the weather in {city}?"}]
        examples.append((prompt(asking, [TOOL]), f"{_call(city)}<|im_end|>"))
        function = {"name": "get_weather", "arguments": {"city": city}}
        called = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        told = [*asking, called, {"role": "tool", "content": "sunny"}]
        examples.append((prompt(told, [TOOL]), f"It is sunny in {city}.<|im_end|>"))
    return examples + [(start, f"{rest}<|im_end|>") for start, rest in COMPLETIONS.items()]


def _call(city: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': 'get_weather', 'arguments': {'city': city}})}\n</tool_call>"


def _encoded(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Tokens, and what is to be learned of them: the answer."""
    before = tokenizer.encode(prompt, add_special_tokens=False)
    after = tokenizer.encode(answer, add_special_tokens=False)
    return before + after, [_IGNORED] * len(before) + after


def _train(model: LlamaForCausalLM, examples: list[tuple[list[int], list[int]]]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=_STEPS)
    model.train()
    for _ in range(_STEPS):
        batch = random.sample(examples, _BATCH)
        longest = max(len(tokens) for tokens, _ in batch)
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row, _ in batch])
        labels = torch.tensor([row + [_IGNORED] * (longest - len(row)) for _, row in batch])
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
