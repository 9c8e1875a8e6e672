"""Folders that look like models: small files, and one over a shard's end, whose bytes tell where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from cloister.crypto.elliptic_key import EllipticKey
from cloister.crypto.sealed_stream import PLAIN_SEGMENT, StreamHead
from cloister.formats import canonical
from cloister.formats.model_manifest import SHARD, ModelFile, ModelManifest, parse_manifest
from cloister.formats.model_signature import parse_signature, parse_signed_model
from cloister.formats.sealed_artifact import SourceFile, Unfinished, parse_header, parse_unfinished
from cloister.sealing.artifact import open_artifact
from cloister.sealing.artifact_key import sealed_header
from cloister.sealing.signature import sign_model
from cloister.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
OTHER_KEY = SecretBytes(bytes(range(1, 33)))
SMALL = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "model.safetensors": b"weights " * (PLAIN_SEGMENT // 4),  # of three segments
    "empty.txt": b"",
    "tokenizer/vocab.json": b"{}",
}
MANIFEST = ModelManifest(
    name="a",
    files=(ModelFile(path="b/c.bin", size=9, shards=bytes(32)), ModelFile(path="d.txt", size=1, shards=bytes(32))),
)
UNFINISHED = Unfinished(
    id=bytes(16), key_check=bytes(32), name="a", files=(SourceFile(path="b", size=1, changed=2, shards=None),)
)
OWNER = EllipticKey(ec.derive_private_key(12345, ec.SECP256R1()))
STRANGER = EllipticKey(ec.derive_private_key(54321, ec.SECP256R1()))
SIGNATURE = sign_model(MANIFEST, OWNER, ignored=["model.sig"])
MODEL_SAMPLES: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "model_manifest": (parse_manifest, [canonical.encode(MANIFEST)]),
    "artifact_header": (parse_header, [canonical.encode(sealed_header(KEY, bytes(16), MANIFEST))]),
    "unfinished_artifact": (parse_unfinished, [canonical.encode(UNFINISHED)]),
    "model_signature": (parse_signature, [SIGNATURE]),
    "signed_model": (parse_signed_model, [parse_signature(SIGNATURE).payload]),
    "stream_head": (StreamHead.parse, [StreamHead(bytes(32), bytes(7)).encode()]),
}


def counted(size: int) -> bytes:
    """Bytes of which no two segments are alike."""
    return b"".join(number.to_bytes(8, "big") * 8192 for number in range(-(-size // 65536)))[:size]


def large() -> dict[str, bytes]:
    """A model of three shards, the last a short one."""
    return {"weights.bin": counted(2 * SHARD + 12345)}


def write_model(folder: Path, contents: dict[str, bytes]) -> Path:
    """A plain folder of these files."""
    for path, content in contents.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


class MemoryTarget:
    """A file of this size in memory, as an engine's sandbox has it."""

    def __init__(self, size: int) -> None:
        self.content, self.is_filled = bytearray(size), False

    def write(self, at: int, data: memoryview) -> None:
        assert not self.is_filled
        assert at + len(data) <= len(self.content)
        self.content[at : at + len(data)] = data

    def filled(self) -> None:
        self.is_filled = True


def opened(artifact: Path, key: SecretBytes = KEY) -> dict[str, bytes]:
    """All of a model's files, by their paths."""
    source = open_artifact(artifact).source(key)
    targets = [MemoryTarget(size) for _, size in source.files]
    source.open_into(iter(targets))
    assert all(target.is_filled for target in targets)
    return {path: bytes(target.content) for (path, _), target in zip(source.files, targets, strict=True)}


class Watched:
    """What a progress was told."""

    def __init__(self) -> None:
        self.total = self.before = self.done = 0

    def begun(self, total: int, before: int) -> None:
        self.total, self.before = total, before

    def advanced(self, count: int) -> None:
        self.done += count
