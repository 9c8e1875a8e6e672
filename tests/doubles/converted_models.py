"""A small Whisper model's files as CTranslate2's converter writes them, with weights of zeros: to be changed."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

KINDS = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
BYTES = {"float32": 4, "int8": 1, "int16": 2, "int32": 4, "float16": 2, "bfloat16": 2}
MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>")
VOCABULARY = ["a", "", *MARKS, "<|notimestamps|>", *(f"<|{at * 0.02:.2f}|>" for at in range(1501))]
TOKENS, WIDTH, INNER, HEADS = len(VOCABULARY), 4, 6, 2
CONFIG: dict[str, Any] = {
    "suppress_ids": [0],
    "suppress_ids_begin": [1],
    "lang_ids": [4],
    "alignment_heads": [[0, 1]],
}
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": None, "added_tokens": [{"id": 1}]}
PREPROCESSOR = {"feature_size": 80, "sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}


def written(value: object) -> bytes:
    """A small file."""
    return json.dumps(value).encode()


def text(value: str) -> bytes:
    """As names are written."""
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, shape: tuple[int, ...], kind: str, content: bytes | None = None) -> bytes:
    """One with zeros, or another content."""
    content = bytes(math.prod(shape) * BYTES[kind]) if content is None else content
    dimensions = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<BI", KINDS.index(kind), len(content)) + content


def setting(name: str, value: int, kind: str = "int8") -> bytes:
    """A number."""
    return variable(name, (), kind, value.to_bytes(BYTES[kind], "little", signed=True))


@dataclass
class ModelBin:
    """The file in its parts; `variables` in the file's spelling, by name."""

    version: int = 6
    specification: str = "WhisperSpec"
    revision: int = 3
    variables: dict[str, bytes] = field(default_factory=lambda: dict(whisper_variables()))
    aliases: dict[str, str] = field(
        default_factory=lambda: {"decoder/projection/weight": "decoder/embeddings/weight"},
    )

    def data(self) -> bytes:
        """All of it."""
        head = struct.pack("<I", self.version) + text(self.specification) + struct.pack("<I", self.revision)
        body = struct.pack("<I", len(self.variables)) + b"".join(self.variables.values())
        named = b"".join(text(name) + text(target) for name, target in self.aliases.items())
        return head + body + struct.pack("<I", len(self.aliases)) + named


def whisper_variables() -> dict[str, bytes]:
    """A layer on each side; linear weights of int8 with their scales, all else of float16."""
    shapes: dict[str, tuple[int, ...]] = {
        "encoder/conv1/weight": (WIDTH, 80, 3),
        "encoder/conv1/bias": (WIDTH,),
        "encoder/conv2/weight": (WIDTH, WIDTH, 3),
        "encoder/conv2/bias": (WIDTH,),
        "encoder/position_encodings/encodings": (1500, WIDTH),
        "decoder/position_encodings/encodings": (448, WIDTH),
    }
    matrices: dict[str, tuple[int, int]] = {"decoder/embeddings": (TOKENS, WIDTH)}
    norms = ["encoder", "decoder", "decoder/layer_0/attention"]
    for side in ("encoder/layer_0", "decoder/layer_0"):
        norms += [f"{side}/self_attention", f"{side}/ffn"]
        matrices[f"{side}/self_attention/linear_0"] = 3 * WIDTH, WIDTH
        matrices[f"{side}/self_attention/linear_1"] = WIDTH, WIDTH
        matrices[f"{side}/ffn/linear_0"] = INNER, WIDTH
        matrices[f"{side}/ffn/linear_1"] = WIDTH, INNER
    for number, rows in enumerate((WIDTH, 2 * WIDTH, WIDTH)):
        matrices[f"decoder/layer_0/attention/linear_{number}"] = rows, WIDTH
    for name in norms:
        shapes |= {f"{name}/layer_norm/gamma": (WIDTH,), f"{name}/layer_norm/beta": (WIDTH,)}
    shapes |= {f"{name}/bias": (rows,) for name, (rows, _) in matrices.items() if "linear" in name}
    found = {name: variable(name, shape, "float16") for name, shape in shapes.items()}
    for name, (rows, columns) in matrices.items():
        found[f"{name}/weight"] = variable(f"{name}/weight", (rows, columns), "int8")
        found[f"{name}/weight_scale"] = variable(f"{name}/weight_scale", (rows,), "float32")
    for name in ("encoder/num_heads", "decoder/num_heads"):
        found[name] = setting(name, HEADS, "int16")
    found["decoder/pre_norm"] = setting("decoder/pre_norm", 1)
    return found
