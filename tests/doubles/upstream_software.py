"""Folders of somebody else's servers, from PyPI as their users install them, made once for a checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doubles.tiny_models import SCRIPTS, tiny_model

from cloister.formats.toml_text import toml_text
from cloister.sandbox.own_libraries import own_folder

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "upstreams"
UV = Path(sysconfig.get_path("scripts")) / "uv"
LLAMA_CPP = "xllamacpp==2026.10.11549"
MLSERVER = "mlserver==1.7.1"


def llama_cpp(*, remembers: bool = False) -> Path:
    """llama.cpp's server in a wheel, by its example; `remembers`: with a prompt cache that all requests share."""
    program = (EXAMPLES / "llama_cpp_wheel.py").read_text()
    changed = program.replace("cache_prompt = False", "cache_prompt = True") if remembers else program
    command = [
        *_example("llama-cpp-wheel")["command"][:-1],
        "1",
    ]  # threads: more wait for each other in so small a model
    told = _written("llama-cpp-wheel", models=["llama", "tiny/llama"], command=command)
    return _software([LLAMA_CPP], {"llama_cpp_wheel.py": changed, "upstream.toml": told})


def mlserver() -> Path:
    """Seldon's MLServer, by its example, with a runtime of a user's."""
    runtime = Path(__file__).with_name("affine_runtime.py").read_text()
    told = _written("mlserver", models=["affine"])
    return _software([MLSERVER], {"affine_runtime.py": runtime, "upstream.toml": told})


def transformers_serve() -> Path:
    """`transformers serve`, by its example, with the libraries that the engine of that name has here."""
    told = _written("transformers-serve", models=["llama"])
    return _software(["transformers[serving]"], {"upstream.toml": told}, beginning=own_folder("transformers"))


def gguf_llama() -> Path:
    """The tiny Llama for llama.cpp: one file, and its self-test."""
    script, source = SCRIPTS / "tiny_gguf.py", tiny_model("llama")

    def make(folder: Path) -> None:
        needed = [word for name in ("gguf", "safetensors", "numpy") for word in ("--with", name)]
        run = [UV, "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable, *needed, script]
        subprocess.run([*map(str, run), str(source), str(folder / "model.gguf")], check=True)
        shutil.copy(source / "selftest.json", folder)

    return _kept(make, script.read_bytes(), source.parent.name.encode())


def install(site: Path, *requirements: str) -> None:
    """As the how-to says it."""
    command = [UV, "pip", "install", "--quiet", "--python", sys.executable, "--target", site, *requirements]
    subprocess.run([*map(str, command)], check=True)


def _software(requirements: list[str], files: dict[str, str], *, beginning: Path | None = None) -> Path:
    def make(folder: Path) -> None:
        if beginning is not None:
            shutil.copytree(beginning, folder / "site", copy_function=os.link)
        install(folder / "site", *requirements)
        for name, text in files.items():
            (folder / name).write_text(text)

    return _kept(make, *(text.encode() for text in (*requirements, *files.values())))


def _example(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / f"{name}.toml").read_text())


def _written(example: str, **changes: object) -> str:
    return toml_text(_example(example) | changes, comment=lambda _path: "")


def _kept(make: Callable[[Path], None], *made_of: bytes) -> Path:
    """The folder that `make` fills, unless there is one of the same already; readable for everybody."""
    digest = hashlib.sha256(b"\0".join(made_of)).hexdigest()[:32]
    kept = REPOSITORY / ".venv" / ".upstreams" / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            unfinished = kept.with_suffix(f".{os.getpid()}")
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(kept)
    return kept
