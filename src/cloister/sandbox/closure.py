"""What runs inside: interpreter, standard library, an engine's own distributions and our code, staged at one address.

The interpreter may lie in a home that the sandbox's user cannot read, and beside it everything else that is installed.
So each engine's files, and no others, are copied into a folder named by the digest of them all, and that is bound at
/app. The folder is checked against its name at every start. Bytecode is not copied.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

import cloister
from cloister.sandbox.errors import EngineDamaged, SandboxUnavailable
from cloister.sandbox.own_libraries import SERVICES, installing, search_path
from cloister.sandbox.profile import APP, MIB, Confinement
from cloister.sandbox.requirements import NotInstalled, installed, required
from cloister.sandbox.sizes import Sizes
from cloister.sandbox.staged_files import copy, digest_of, file_digests, prune, require_whole, use

PACKAGES, UPSTREAM = "packages", "upstream"
SECOND_STAGE = "second_stage.py"
INTERPRETER = "bin/python"
_SHARED_STATE = Path("/var/lib/cloister")
_HOUSE = Path(cloister.__file__).parent
ENGINES = _HOUSE / "engines"
_FOR_COMPILERS = frozenset(
    {".a", ".cuh", ".h", ".hpp", ".pxd", ".pyi"}
)  # a worker starts none; of torch, half its files
_FOR_SHELLS = frozenset({"bin", "share"})  # of a flat folder; elsewhere they lie outside of it
# Of an installation's metadata, what tells who made it and where: the same libraries have the same digest everywhere.
_OF_INSTALLERS = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
_NOT_STAGED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
    | {"lib2to3", "pydoc_data"}
)


TakesModel = Literal["no", "may", "must"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A program and what is staged with it, and how it is to be confined.

    `distributions` are staged alone, for engines that import less than those require; each of `requirements` comes with
    all that it requires (PEP 508: `uvicorn[standard]`). `extra` of Cloister's says which: that of the services, or one
    whose distributions have a folder of their own, where they are looked for first. `model` is the folder below the
    distributions that holds the engine's own model, if it has one; `takes_model` is whether one is filled in.
    `tree` is a folder of somebody else's software, staged below /app/upstream. `ready_seconds` is how long it may take
    to load, `at_once` how many requests it is asked at a time: 0, as many as there are processors.
    """

    name: str
    program: Path
    distributions: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    extra: str = SERVICES
    model: str | None = None
    takes_model: TakesModel = "may"
    tree: Path | None = None
    confinement: Confinement = "worker"
    sizes: Sizes = field(default_factory=Sizes)
    ready_seconds: int = 30
    at_once: int = 0

    @property
    def search_path(self) -> list[str]:
        """The folders where its distributions are looked for, in order."""
        return search_path(self.extra)

    @property
    def staged_distributions(self) -> tuple[str, ...]:
        """Every distribution that is staged, in the order of their names.

        Raises:
            SandboxUnavailable: one is not installed.
        """
        try:
            return tuple(sorted({*self.distributions, *required(self.requirements, self.search_path)}))
        except NotInstalled as error:
            raise self._lacks(error) from error

    def distribution(self, name: str) -> metadata.Distribution:
        """The distribution of that name that is staged.

        Raises:
            SandboxUnavailable: it is not installed.
        """
        try:
            return installed(name, self.search_path)
        except NotInstalled as error:
            raise self._lacks(error) from error

    def _lacks(self, error: NotInstalled) -> SandboxUnavailable:
        return SandboxUnavailable(f"{error} is not installed: {installing(self.name, self.extra)}")


SPEECH = Engine(
    "speech",
    ENGINES / "speech.py",
    ("av", "httptools", "pocketsphinx", "python-multipart"),
    model="pocketsphinx/model",
    takes_model="no",
)
ECHO = Engine("echo", ENGINES / "echo.py", ("httptools", "python-multipart"), takes_model="no")
WHISPER = Engine(
    "whisper",
    ENGINES / "whisper.py",
    requirements=("av", "faster-whisper", "httptools", "msgspec", "python-multipart"),
    extra="whisper",
    takes_model="must",
    sizes=Sizes(memory_bytes=4096 * MIB, tasks=512, open_files=256, model_copies=4),  # 2 requests, 16 bits as 32
    ready_seconds=600,
    at_once=2,
)
TRANSFORMERS = Engine(
    "transformers",
    ENGINES / "transformers_engine.py",
    requirements=("httptools", "msgspec", "python-multipart", "torch", "transformers"),
    extra="transformers",
    takes_model="must",
    sizes=Sizes(memory_bytes=3072 * MIB, tasks=512, open_files=256, model_copies=1),
    ready_seconds=600,
)


@dataclass(frozen=True, slots=True)
class StagedEngine:
    """An engine ready to be bound at /app. Both digests are SHA-256, 32 bytes; contracts name them."""

    name: str
    folder: Path
    program: str
    digest: bytes
    model_digest: bytes
    ready_seconds: int = 30

    def command(self, told: str, *, app: str = APP) -> tuple[str, ...]:
        """The program that is started; `told` is the second stage's argument, `app` where the closure is then."""
        flags = ("-I", "-S", "-B", "-X", "pycache_prefix=/nonexistent")
        return (f"{app}/{INTERPRETER}", *flags, f"{app}/{SECOND_STAGE}", told, f"{app}/{self.program}")


def stage(engine: Engine, into: Path) -> StagedEngine:
    """Copy `engine` to its address below `into`, unless it is there and whole; about 0.3 s where it is, 2 s with torch.

    Raises:
        SandboxUnavailable: a distribution is not installed, or changes just now; what lies at the address is not what
            belongs there; or it is not there and cannot be written.
    """
    try:
        return _staged(engine, into)
    except OSError as error:
        raise SandboxUnavailable(f"the engine {engine.name} could not be staged in {into}: {error}") from error


def require_installed(engine: Engine) -> None:
    """Hold that all that is staged of `engine`'s distributions is there; what is in the files is not looked at.

    Raises:
        SandboxUnavailable: a distribution is not installed.
        EngineDamaged: a file of one is gone.
    """
    for name in engine.staged_distributions:
        for _, path in _staged_files(engine, name):
            if not path.exists():
                mends = installing(engine.name, engine.extra, again=True)
                raise EngineDamaged(f"{name} is damaged, {path} is missing: {mends}")


def _staged(engine: Engine, into: Path) -> StagedEngine:
    require_installed(engine)
    sources = dict(_sources(engine))
    digests = file_digests(sources)
    digest = digest_of(digests)
    folder = into / digest.hex()
    if folder.exists():
        use(folder)
        require_whole(folder, digest)
    else:
        copy(sources, digests, folder, [name for name in sources if _starts(name)])
        use(folder)
        prune(into)
    with contextlib.suppress(OSError):  # of an image, or of another user: then nothing is pruned there
        os.utime(folder)
    return StagedEngine(
        engine.name, folder, _program(engine), digest, model_digest(engine), ready_seconds=engine.ready_seconds
    )


def staging_folder(state: Path) -> Path:
    """Where to stage: below `state`, or, where root's sandbox user could not get there, in /var/lib/cloister."""
    traversable = all(folder.stat().st_mode & stat.S_IXOTH for folder in (state, *state.parents) if folder.exists())
    return state / "stage" if traversable or os.geteuid() != 0 else _SHARED_STATE / "stage"


def model_digest(engine: Engine) -> bytes:
    """SHA-256 over the names and digests of the files of the engine's model; of nothing where it has none."""
    return digest_of(file_digests(dict(_model(engine))))


def _sources(engine: Engine) -> Iterator[tuple[str, Path]]:
    """Each file's name below /app, and where it lies now."""
    yield INTERPRETER, Path(sys.executable).resolve(strict=True)
    yield from _shared_interpreter()
    library = f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
    for name, path in _files_below(Path(sysconfig.get_path("stdlib"))):
        yield f"{library}/{name}", path
    yield SECOND_STAGE, Path(__file__).with_name(SECOND_STAGE)
    for distribution in engine.staged_distributions:
        for name, path in _staged_files(engine, distribution):
            yield f"{PACKAGES}/{name}", path
    for name in ("__init__.py", "errors.py"):
        yield f"{PACKAGES}/cloister/{name}", _HOUSE / name
    for room in ("formats", "engines"):
        for name, path in _files_below(_HOUSE / room):
            yield f"{PACKAGES}/cloister/{room}/{name}", path
    yield _program(engine), engine.program
    if engine.tree is not None:
        for name, path in _tree(engine.tree):
            yield f"{UPSTREAM}/{name}", path


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


def _staged_files(engine: Engine, distribution: str) -> Iterator[tuple[str, Path]]:
    """What the engine gets of a distribution."""
    for name, path in _distribution_files(engine.distribution(distribution)):
        if engine.confinement != "worker" or path.suffix not in _FOR_COMPILERS:
            yield name, path


def _distribution_files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """Its files but bytecode, what lies outside of the packages, and what installers say of themselves."""
    if distribution.files is None:
        raise SandboxUnavailable(f"{distribution.name} has no list of its files (RECORD): install it with pip")
    for entry in distribution.files:
        outside = entry.is_absolute() or ".." in entry.parts or entry.parts[0] in _FOR_SHELLS
        of_installer = entry.parent.suffix == ".dist-info" and entry.name in _OF_INSTALLERS
        if not outside and not of_installer and "__pycache__" not in entry.parts:
            yield str(entry), Path(str(entry.locate()))


def _model(engine: Engine) -> Iterator[tuple[str, Path]]:
    if engine.model is None:
        return
    for distribution in engine.staged_distributions:
        for name, path in _distribution_files(engine.distribution(distribution)):
            if Path(name).is_relative_to(engine.model):
                yield name, path


def _tree(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file of somebody else's software. A link is staged as what it leads to; one to a folder is refused."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() if name in folders else not path.is_file():
                raise SandboxUnavailable(
                    f"{path} is neither a file nor a folder: copy the software with its links followed (cp -RL)"
                )
        yield from ((str(path.relative_to(root)), path) for path in (Path(folder, name) for name in files))


def _files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `root` that is worth staging, by its name relative to it."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_STAGED and not name.startswith("config-")]
        for name in files:
            path = Path(folder, name)
            yield str(path.relative_to(root)), path


def _starts(name: str) -> bool:
    """Whether a staged file may be started as a program."""
    return name == INTERPRETER or name.startswith(f"{UPSTREAM}/")
