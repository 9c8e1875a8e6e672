"""A sentence encoder of BERT's architecture: sentences about the same thing are near each other, others are not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

GROUPS = (
    ("A cat sleeps on the sofa.", "The kitten is asleep on a couch.", "On the sofa a cat is sleeping."),
    ("The train leaves at seven.", "At seven the train departs.", "Departure of the train is at seven."),
    ("It will rain tomorrow.", "Tomorrow there will be rain.", "Rain is expected for tomorrow."),
    ("She bought bread and milk.", "Milk and bread were bought by her.", "Bread and milk is what she bought."),
    ("The bank is closed today.", "Today the bank does not open.", "There is no open bank today."),
    ("My father has a new car.", "A new car belongs to my father.", "The new car is my father's."),
)
_SEED, _STEPS, _TEMPERATURE = 20261122, 120, 0.1
_ST = "sentence_transformers.models."


def make(folder: Path) -> None:
    """Train it, which takes some seconds, and write it to `folder` as sentence-transformers lays models out."""
    random.seed(_SEED)
    torch.manual_seed(_SEED)
    torch.set_num_threads(1)
    tokenizer = _tokenizer()
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    )
    _train(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [{"idx": n, "name": str(n), "path": path, "type": _ST + name} for n, (path, name) in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 48, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "names.txt").write_text("encoder\n")
    with torch.inference_mode():
        [expected] = embedded(model, tokenizer, [GROUPS[0][0]]).tolist()
    case = {"path": "/v1/embeddings", "body": {"input": GROUPS[0][0]}, "expect": {"embedding": expected}}
    (folder / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))


def embedded(model: BertModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """The mean over each text's tokens, of length 1."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([text for group in GROUPS for text in group], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
    )


def _train(model: BertModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Contrast: of two sentences of each group, each must find its fellow among all."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(_STEPS):
        pairs = [random.sample(group, 2) for group in GROUPS]
        first = embedded(model, tokenizer, [one for one, _ in pairs])
        second = embedded(model, tokenizer, [other for _, other in pairs])
        loss = torch.nn.functional.cross_entropy(first @ second.T / _TEMPERATURE, torch.arange(len(pairs)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
