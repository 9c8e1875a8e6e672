"""A small model, sealed under a key that everybody knows."""

from __future__ import annotations

from pathlib import Path

from tests.doubles.plain_models import Watched

from cloister.sealing.artifact import seal_folder
from cloister.secret import SecretBytes

KEY = bytes(range(32))
WEIGHTS = bytes(range(256)) * 512  # 128 KiB


def sealed_model(folder: Path, *, name: str = "tiny", weights: bytes = WEIGHTS, file: str = "weights.bin") -> Path:
    """An artifact below `folder`, of a file of weights and one of settings."""
    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / file).write_bytes(weights)
    (plain / "config.json").write_text("{}")
    seal_folder(plain, folder / "sealed", name=name, key=SecretBytes(KEY), progress=Watched())
    return folder / "sealed"
