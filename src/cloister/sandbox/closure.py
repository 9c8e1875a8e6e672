"""What runs inside: interpreter, standard library, an engine's own distributions and our code, staged at one address.

The interpreter may lie in a home that the sandbox's user cannot read, and beside it everything else that is installed.
So each engine's files, and no others, are copied into a folder named by the digest of them all, and that is bound at
/app. The folder is checked against its name at every start. Bytecode is not copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cbor2

import cloister
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.profile import APP

PACKAGES = "packages"
SECOND_STAGE = "second_stage.py"
INTERPRETER = "bin/python"
_KEPT = 4
_SHARED_STATE = Path("/var/lib/cloister")
_HOUSE = Path(cloister.__file__).parent
_ENGINES = _HOUSE / "engines"
_NOT_STAGED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
    | {"lib2to3", "pydoc_data"}
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A program, the distributions it imports, and the folder below those that holds its model, if it has one."""

    name: str
    program: Path
    distributions: tuple[str, ...]
    model: str | None = None


SPEECH = Engine(
    "speech", _ENGINES / "speech.py", ("av", "httptools", "pocketsphinx", "python-multipart"), "pocketsphinx/model"
)
ECHO = Engine("echo", _ENGINES / "echo.py", ("httptools", "python-multipart"))


@dataclass(frozen=True, slots=True)
class StagedEngine:
    """An engine ready to be bound at /app. Both digests are SHA-256, 32 bytes; contracts name them."""

    name: str
    folder: Path
    program: str
    digest: bytes
    model_digest: bytes

    def command(self, told: str) -> tuple[str, ...]:
        """The program that bubblewrap starts; `told` is the second stage's argument."""
        flags = ("-I", "-S", "-B", "-X", "pycache_prefix=/nonexistent")
        return (f"{APP}/{INTERPRETER}", *flags, f"{APP}/{SECOND_STAGE}", told, f"{APP}/{self.program}")


def stage(engine: Engine, into: Path) -> StagedEngine:
    """Copy `engine` to its address below `into`, unless it is there and whole; about 0.3 s where it is.

    Raises:
        SandboxUnavailable: a distribution is not installed, or what lies at the address is not what belongs there.
    """
    sources = dict(_sources(engine))
    digest = _digest(file_digests(sources))
    folder = into / digest.hex()
    if not folder.exists():
        _copy(sources, folder)
    os.utime(folder)
    _prune(into)
    if (there := _digest(file_digests(dict(_everything(folder))))) != digest:
        raise SandboxUnavailable(f"{folder} holds other files than its name says ({there.hex()[:16]}…): remove it")
    return StagedEngine(engine.name, folder, _program(engine), digest, model_digest(engine))


def staging_folder(state: Path) -> Path:
    """Where to stage: below `state`, or, where root's sandbox user could not get there, in /var/lib/cloister."""
    traversable = all(folder.stat().st_mode & stat.S_IXOTH for folder in (state, *state.parents) if folder.exists())
    return state / "stage" if traversable or os.geteuid() != 0 else _SHARED_STATE / "stage"


def _prune(into: Path) -> None:
    """Every change of the code makes another folder; the ones used longest ago go."""
    folders = sorted((path for path in into.iterdir() if len(path.name) == 64), key=lambda path: path.stat().st_mtime)
    for path in folders[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def model_digest(engine: Engine) -> bytes:
    """SHA-256 over the names and digests of the files of the engine's model; of nothing where it has none."""
    return _digest(file_digests(dict(_model(engine))))


def file_digests(files: Mapping[str, Path]) -> dict[str, bytes]:
    """SHA-256 of each file's content, in two threads: hashing releases the interpreter's lock."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(files, pool.map(_file_digest, files.values()), strict=True))


def _everything(folder: Path) -> Iterator[tuple[str, Path]]:
    return ((str(path.relative_to(folder)), path) for path in folder.rglob("*") if not path.is_dir())


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _digest(files: Mapping[str, bytes]) -> bytes:
    return hashlib.sha256(cbor2.dumps(dict(files), canonical=True)).digest()


def _sources(engine: Engine) -> Iterator[tuple[str, Path]]:
    """Each file's name below /app, and where it lies now."""
    yield INTERPRETER, Path(sys.executable).resolve(strict=True)
    yield from _shared_interpreter()
    library = f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
    for name, path in _files_below(Path(sysconfig.get_path("stdlib"))):
        yield f"{library}/{name}", path
    yield SECOND_STAGE, Path(__file__).with_name(SECOND_STAGE)
    for distribution in engine.distributions:
        for name, path in _distribution_files(distribution):
            yield f"{PACKAGES}/{name}", path
    for name in ("__init__.py", "errors.py"):
        yield f"{PACKAGES}/cloister/{name}", _HOUSE / name
    for room in ("formats", "engines"):
        for name, path in _files_below(_HOUSE / room):
            yield f"{PACKAGES}/cloister/{room}/{name}", path
    yield _program(engine), engine.program


def _program(engine: Engine) -> str:
    """Where the engine's program lies below /app. A program from elsewhere is put beside the distributions."""
    inside = engine.program.is_relative_to(_HOUSE)
    return f"{PACKAGES}/{engine.program.relative_to(_HOUSE.parent) if inside else engine.program.name}"


def _shared_interpreter() -> Iterator[tuple[str, Path]]:
    """An interpreter built as a library, outside the system's own folders, needs that library beside it."""
    name, folder = sysconfig.get_config_vars("INSTSONAME", "LIBDIR")
    for place in (Path(sys.executable).resolve().parents[1] / "lib", Path(folder or "/nonexistent")):
        if name and not name.endswith(".a") and os.access(place / name, os.R_OK):
            yield f"lib/{name}", place / name
            return


def _distribution_files(name: str) -> Iterator[tuple[str, Path]]:
    try:
        listed = metadata.distribution(name).files
    except metadata.PackageNotFoundError as error:
        raise SandboxUnavailable(f"{name} is not installed: pip install 'cloister[node]'") from error
    if listed is None:
        raise SandboxUnavailable(f"{name} has no list of its files (RECORD): install it with pip")
    for entry in listed:
        outside = entry.is_absolute() or ".." in entry.parts  # scripts, data for the rest of the system
        if not outside and "__pycache__" not in entry.parts:
            yield str(entry), Path(str(entry.locate()))


def _model(engine: Engine) -> Iterator[tuple[str, Path]]:
    if engine.model is None:
        return
    for distribution in engine.distributions:
        for name, path in _distribution_files(distribution):
            if Path(name).is_relative_to(engine.model):
                yield name, path


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `root` that is worth staging, by its name relative to it."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_STAGED and not name.startswith("config-")]
        for name in files:
            path = Path(folder, name)
            yield str(path.relative_to(root)), path


def _copy(sources: Mapping[str, Path], folder: Path) -> None:
    """All or nothing: what is cut short lies under another name."""
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix="unfinished-"))
    try:
        for name, source in sources.items():
            target = unfinished / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o555 if name == INTERPRETER else 0o444)
        for path in (unfinished, *(below for below in unfinished.rglob("*") if below.is_dir())):
            path.chmod(0o755)  # whatever the umask is: another user traverses it
        unfinished.rename(folder)
    except FileExistsError:  # another process was faster with the same files
        shutil.rmtree(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
