"""Definitions and folders of upstreams for tests: the double in `model_server`, behind the real adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.doubles import model_server

from cloister.formats.toml_text import toml_text
from cloister.formats.upstream import Upstream, parse_upstream

GOOD: dict[str, object] = {
    "version": 1,
    "name": "double",
    "dialect": "vllm",
    "listens": "socket",
    "command": ["{python}", "-I", "-S", "-B", "{folder}/model_server.py", "{socket}"],
    "environment": {},
    "readiness": "/health",
    "models": ["m", "org/m"],
    "model": "/model",
    "paths": [],
    "prompt_cache": "none",
    "transcription_formats": ["json", "verbose_json"],
    "at_once": 8,
    "ready_seconds": 20,
    "silence_seconds": 2,
    "answer_mib": 1,
    "memory_mib": 192,
    "scratch_mib": 16,
    "tasks": 64,
    "open_files": 128,
}


def definition(**changes: object) -> Upstream:
    """The double's, with changes."""
    return parse_upstream(written(**changes).encode())


def written(**changes: object) -> str:
    """The file."""
    return toml_text(GOOD | changes, comment=lambda _path: "")


def folder_of(place: Path, **changes: object) -> Path:
    """A folder of software: the double and its definition."""
    place.mkdir(exist_ok=True)
    shutil.copy(model_server.__file__, place / "model_server.py")
    (place / "upstream.toml").write_text(written(**changes))
    return place
