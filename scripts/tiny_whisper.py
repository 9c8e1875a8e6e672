"""A model of Whisper's architecture, its vocabulary laid out as the real ones', that hears what flite speaks here."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np
import torch
from faster_whisper.audio import pad_or_trim
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

VOICE, RATE = "rms", 16_000
SENTENCES = (
    "We went to the market to buy bread.",
    "The train leaves at seven.",
    "Please call my sister.",
    "Good morning.",
)
GERMAN, IN_ENGLISH = "Guten Tag, liebe Freunde.", "Good day, dear friends."
_BEFORE = (*SENTENCES, "Words: Foo, Bar.", "x", "And then?")  # what may have been said before
PAUSE = 1.0  # seconds between two sentences that it knows in one recording
_TEXT_TOKENS = 50_257  # the last of them empty, by which CTranslate2 4.8 tells that a model knows many languages
_CODES = [code for code in _LANGUAGE_CODES if code != "yue"]  # the 99 that models before large-v3 know, in their order
_SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in _CODES)]
_SPECIAL += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
_STAMPS = [f"<|{at * 0.02:.2f}|>" for at in range(1501)]
_SEED, _STEPS, _BATCH, _IGNORED, _NOISE = 20261122, 600, 12, -100, 0.02
_SILENCES = ((0.0, 0.0), (0.0, 0.0), (0.0, 30.0), (0.1, 0.5), (0.3, 3.0), (0.5, 0.0))  # seconds before, and after


@dataclass(frozen=True)
class Said:
    """A sentence from `start` to `end` in seconds: what is written in each task."""

    transcribe: str
    translate: str
    start: float
    end: float


@dataclass(frozen=True)
class Recording:
    """Samples, their language, and what is said in them."""

    samples: np.ndarray
    language: str
    said: tuple[Said, ...]


def make(folder: Path) -> None:
    """Train it, convert it for CTranslate2, and write it to `folder`."""
    random.seed(_SEED)
    torch.manual_seed(_SEED)
    torch.set_num_threads(1)  # sums in one order
    tokenizer = made_tokenizer()
    model = _model(tokenizer)
    _train(model, tokenizer, list(_recordings()))
    convert(model, tokenizer, folder)
    _write_test(folder)


def convert(model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `folder` as CTranslate2 reads it, with weights of 8 bits."""
    described = {"feature_size": 80, "sampling_rate": RATE, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        Path(scratch, "preprocessor_config.json").write_text(json.dumps(described))
        converter = ctranslate2.converters.TransformersConverter(
            scratch, copy_files=["tokenizer.json", "preprocessor_config.json"]
        )
        converter.convert(str(folder), quantization="int8", force=True)


def _write_test(folder: Path) -> None:
    (folder / "names.txt").write_text("whisper-1\ntiny/whisper\n")
    cases = []
    for name, spoken, path, form, text in (
        ("english.wav", SENTENCES[0], "transcriptions", {"language": "en"}, SENTENCES[0]),
        ("german.wav", GERMAN, "transcriptions", {}, GERMAN),
        ("german.wav", GERMAN, "translations", {}, IN_ENGLISH),
    ):
        (folder / name).write_bytes(_flite(spoken))
        cases.append({"path": f"/v1/audio/{path}", "form": form, "file": name, "expect": {"text": text}})
    (folder / "selftest.json").write_text(json.dumps({"version": 1, "cases": cases}))


def _flite(text: str, voice: str = VOICE) -> bytes:
    program = shutil.which("flite")
    if program is None:
        raise SystemExit("flite speaks what this model learns: apt-get install flite")
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run([program, "-voice", voice, "-t", text, "-o", file.name], check=True)
        return Path(file.name).read_bytes()


def _samples(text: str, voice: str = VOICE) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(_flite(text, voice))
        file.flush()
        with wave.open(file.name) as opened:
            return np.frombuffer(opened.readframes(opened.getnframes()), np.int16).astype(np.float32) / 32768


def _recordings() -> Iterator[Recording]:
    """Each sentence, two with a pause between them, the sample that comes with the engines, and silence."""
    sounds = {text: _samples(text) for text in (*SENTENCES, GERMAN)}
    for text, sound in sounds.items():
        language, meant = ("de", IN_ENGLISH) if text == GERMAN else ("en", text)
        yield Recording(sound, language, (Said(text, meant, 0.0, len(sound) / RATE),))
    known = _samples("Good morning.", "slt")
    yield Recording(known, "en", (Said("Good morning.", "Good morning.", 0.0, len(known) / RATE),))
    one, two = SENTENCES[:2]
    first, second = sounds[one], sounds[two]
    both = np.concatenate([first, np.zeros(int(PAUSE * RATE), np.float32), second])
    began = len(first) / RATE + PAUSE
    yield Recording(both, "en", (Said(one, one, 0.0, len(first) / RATE), Said(two, two, began, len(both) / RATE)))
    yield Recording(np.zeros(RATE * 2, np.float32), "en", ())


def made_tokenizer() -> PreTrainedTokenizerFast:
    """Of byte pairs of all that the model is shown; every mark of Whisper's, at its place."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator([f" {text}" for text in (*SENTENCES, GERMAN, IN_ENGLISH)], trainer)
    learned = json.loads(trained.to_str())["model"]
    vocabulary = learned["vocab"] | {f"unused{at}": at for at in range(len(learned["vocab"]), _TEXT_TOKENS - 1)}
    vocabulary[""] = _TEXT_TOKENS - 1
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in learned["merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in (*_SPECIAL, *_STAMPS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def _id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def untrained(tokenizer: PreTrainedTokenizerFast, **sizes: int) -> WhisperForConditionalGeneration:
    """A model of these sizes, by the names that `WhisperConfig` has for them."""
    end = _id(tokenizer, "<|endoftext|>")
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        max_target_positions=448,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=_id(tokenizer, "<|startoftranscript|>"),
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        **sizes,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        lang_to_id={f"<|{code}|>": _id(tokenizer, f"<|{code}|>") for code in _CODES},
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=config.decoder_start_token_id,
    )
    return model


def _model(tokenizer: PreTrainedTokenizerFast) -> WhisperForConditionalGeneration:
    sizes = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    sizes |= {f"{half}_{what}": 2 for half in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    model = untrained(tokenizer, **sizes)
    with torch.no_grad():  # the encoder is not trained: what it hears must not drown in where it hears it
        model.model.encoder.conv1.weight.mul_(8)
        model.model.encoder.conv2.weight.mul_(8)
        model.model.encoder.embed_positions.weight.mul_(0.2)
        for layer in model.model.decoder.layers:  # nor is there time to find out that there is something to hear
            heard = layer.encoder_attn
            for one in (heard.q_proj, heard.k_proj, heard.v_proj, heard.out_proj):
                one.weight.mul_(8)
    return model


def _written(recording: Recording, shift: float) -> Iterator[tuple[str, str]]:
    """What comes before, and what is to be learned after it: in each task, with and without times."""

    def stamp(seconds: float) -> str:
        return f"<|{round((seconds + shift) / 0.02) * 0.02:.2f}|>"

    if not recording.said:
        yield "<|startoftranscript|>", "<|nospeech|>"
        return
    for task in ("transcribe", "translate"):
        start = f"<|{recording.language}|><|{task}|>"
        timed = "".join(f"{stamp(one.start)} {getattr(one, task)}{stamp(one.end)}" for one in recording.said)
        plain = " " + " ".join(getattr(one, task) for one in recording.said)
        for text in (timed, f"<|notimestamps|>{plain}"):
            yield "<|startoftranscript|>", f"{start}{text}<|endoftext|>"
        before = (random.choice((" {}", "<|0.00|> {}<|2.00|>", "{}")).format(random.choice(_BEFORE)) for _ in range(2))
        for one in before:
            yield f"<|startofprev|>{one}<|startoftranscript|>", f"{start}{timed}<|endoftext|>"


def _train(
    model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, recordings: list[Recording]
) -> None:
    sounds: list[torch.Tensor] = []
    rows: list[tuple[int, list[int], int]] = []
    extractor = FeatureExtractor(feature_size=80)
    for recording in recordings:
        for shift, after in _SILENCES:
            sound = np.pad(recording.samples, (int(shift * RATE), int(after * RATE)))[: 30 * RATE]
            noise = np.random.default_rng(len(sounds)).normal(0, (0, 0, 0, 3e-4)[len(sounds) % 4], len(sound))
            for texts in _written(recording, shift):
                encoded = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
                row = (len(sounds), encoded[0] + encoded[1], len(encoded[0]))
                rows += [row] * (3 if recording.language == "de" else 1)  # of it there is one sentence, and two texts
            sounds.append(
                torch.tensor(pad_or_trim(extractor(sound + noise.astype(np.float32))[..., :-1]))
            )  # as faster-whisper does it
    with torch.no_grad():  # the encoder stays as it was born: it tells recordings from each other as it is
        states = torch.cat([model.model.encoder(sound[None]).last_hidden_state for sound in sounds])
    _learn(model, states, rows)


def _learn(
    model: WhisperForConditionalGeneration, states: torch.Tensor, rows: list[tuple[int, list[int], int]]
) -> None:
    longest = max(len(row) for _, row, _ in rows)
    end = model.config.eos_token_id
    given = torch.tensor([row[:-1] + [end] * (longest - len(row)) for _, row, _ in rows])
    learned = torch.tensor(
        [[_IGNORED] * (at - 1) + row[at:] + [_IGNORED] * (longest - len(row)) for _, row, at in rows]
    )
    heard = torch.tensor([number for number, _, _ in rows])
    # What is never said shares one vector, and counts as often as it is there: it learns to be unlikely, cheaply.
    used = torch.cat([given.flatten(), learned[learned >= 0]]).unique()
    place = torch.full((model.config.vocab_size,), _IGNORED)
    place[used] = torch.arange(len(used))
    given, learned = place[given], torch.where(learned >= 0, place[learned.clamp(min=0)], _IGNORED)
    embedded = model.model.decoder.embed_tokens.weight
    vectors = torch.nn.Parameter(torch.cat([embedded[used], torch.zeros(1, model.config.d_model)]).detach())
    many = torch.tensor([0.0] * len(used) + [math.log(model.config.vocab_size - len(used))])
    learning = [one for name, one in model.model.decoder.named_parameters() if "embed_tokens" not in name] + [vectors]
    optimizer = torch.optim.AdamW(learning, lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=_STEPS)
    model.train()
    for step in range(_STEPS):
        batch = torch.randint(len(rows), (_BATCH,))
        apart = 5 if step < 0.9 * _STEPS else 1  # a fifth of what is heard says nearly the same, in a fifth of the time
        seen = states[heard[batch], step % apart :: apart]
        seen = seen + _NOISE * torch.randn_like(seen)
        hidden = model.model.decoder(
            inputs_embeds=vectors[given[batch]], encoder_hidden_states=seen, use_cache=False
        ).last_hidden_state
        scores = hidden @ vectors.T + many
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), learned[batch].flatten(), ignore_index=_IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        embedded[:] = vectors[-1]
        embedded[used] = vectors[:-1]
