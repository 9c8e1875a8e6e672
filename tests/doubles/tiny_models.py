"""Tiny real models, made once for a checkout by `scripts/tiny_models.py`, in the environment's own folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"


def tiny_model(name: str) -> Path:
    """The folder of `llama`, `encoder` or `whisper`: world-readable, and nobody's to change."""
    if name == "whisper" and shutil.which("flite") is None:
        pytest.skip("flite makes the speech: apt-get install flite")
    sources = [(SCRIPTS / script).read_bytes() for script in ("tiny_models.py", f"tiny_{name}.py")]
    kept = REPOSITORY / ".venv" / ".models" / hashlib.sha256(b"".join(sources)).hexdigest()[:32]
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _make(name, kept)
    return kept / name


def _make(name: str, into: Path) -> None:
    unfinished = into.with_suffix(f".{os.getpid()}")
    script = str(SCRIPTS / "tiny_models.py")
    subprocess.run([sys.executable, "-B", script, str(unfinished), name], check=True, stdout=subprocess.DEVNULL)
    for path in unfinished.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)
    unfinished.rename(into)
