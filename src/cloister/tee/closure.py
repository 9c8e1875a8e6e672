"""Which files run: the interpreter, everything on the module path, and the shared objects that these need.

docs/formats/workload-measurement.md is the specification. Nothing is left out for being unlikely: a file that could be
imported is part of the closure whether or not an installer put it there.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from cloister.errors import Refused

LDCONFIG: Final = "/sbin/ldconfig"
ELF_MAGIC: Final = b"\x7fELF"
# Folders inside the standard library's that are no part of the path: another installation's packages.
FOREIGN: Final = frozenset({"site-packages", "dist-packages"})


class ClosureRefused(Refused):
    """What runs cannot be measured whole."""


def list_closure(path: Iterable[str], interpreter: Path) -> dict[str, Path | None]:
    """Every file of the closure by its name; None for a shared object that is needed and not there."""
    closure: dict[str, Path | None] = {"interpreter": interpreter.resolve()}
    for name, root in roots(path).items():
        closure.update(files(name, root))
    present = [file for file in closure.values() if file is not None]
    binaries = [file for file in present if ".so" in file.name or file == closure["interpreter"]]
    binaries = [file for file in binaries if is_elf(file)]
    needed = shared_objects(binaries, frozenset(file.name for file in present))
    closure.update({f"system/{name}": place for name, place in needed.items()})
    return closure


def roots(path: Iterable[str]) -> dict[str, Path]:
    """The entries of the module path that exist, by names that do not depend on where they lie.

    An entry inside another is covered by it. Names: `stdlib`, `site-packages`, then `source`, `source-2` …
    """
    known = {
        Path(sysconfig.get_path("stdlib")).resolve(): "stdlib",
        Path(sysconfig.get_path("purelib")).resolve(): "site-packages",
    }
    named: dict[str, Path] = {}
    entries = list(dict.fromkeys(Path(entry).resolve() for entry in path if Path(entry).exists()))
    for entry in entries:
        inside = any(other != entry and entry.is_relative_to(other) for other in entries)
        if inside and entry not in known:
            continue
        name = known.get(entry, "source")
        others = sum(1 for given in named if given.partition("-")[0] == "source")
        named[name if name not in named else f"source-{others + 1}"] = entry
    return named


def files(name: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `root`, in order, by its name in the manifest. Links are followed once, loops end.

    Bytecode in `__pycache__` is left out, since it is never loaded; bytecode anywhere else is a module and stays in.

    Raises:
        PermissionError: a file or folder that this user may not read, other than a `__pycache__`.
    """
    if root.is_file():
        yield name, root
        return
    seen: set[Path] = set()
    folders = [(name, root)]
    while folders:
        label, folder = folders.pop()
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(folder):
            inner = f"{label}/{entry.name}"
            if entry.is_dir():
                if not (folder == root and name == "stdlib" and entry.name in FOREIGN):
                    folders.append((inner, entry))
            elif entry.is_file() and not (folder.name == "__pycache__" and entry.suffix == ".pyc"):
                yield inner, entry


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order.

    Nothing in a `__pycache__` that is closed to this user could be loaded by it either: bytecode that root's commands
    wrote under a strict umask locks nobody else out.
    """
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name)
    except PermissionError:
        if folder.name == "__pycache__":
            return []
        raise


def shared_objects(binaries: Iterable[Path], provided: frozenset[str]) -> dict[str, Path | None]:
    """The system's shared objects that `binaries` need, and those that these need; None where there is none.

    Args:
        binaries: ELF files of the closure.
        provided: names of shared objects that lie in the closure itself, in a package's own folder.

    Raises:
        ClosureRefused: this system has no loader cache to ask.
    """
    cache = _loader_cache()
    found: dict[str, Path | None] = {}
    queue = list(binaries)
    while queue:
        names, folders = _needed(queue.pop())
        for needed in names:
            if needed in found or needed in provided:
                continue
            own = [folder / needed for folder in folders if (folder / needed).is_file()]
            places = own[:1] or cache.get(needed, [])
            found[needed] = None
            for number, place in enumerate(places):
                found[needed if number == 0 else f"{needed}#{number + 1}"] = place
                queue.append(place)
    return found


def is_elf(path: Path) -> bool:
    """Whether the file is a program or shared object."""
    with path.open("rb") as file:
        return file.read(4) == ELF_MAGIC


def mapped() -> set[Path]:
    """The files that are mapped as code into this process right now."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    fields = [line.split(maxsplit=5) for line in lines]
    return {Path(field[5]).resolve() for field in fields if len(field) == 6 and "x" in field[1] and field[5][0] == "/"}


def _needed(path: Path) -> tuple[list[str], list[Path]]:
    """The names of the shared objects that an ELF file needs, and the folders where it says to look first."""
    try:
        with path.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".dynamic")
            tags = [*section.iter_tags()] if isinstance(section, DynamicSection) else []
    except ELFError as error:
        raise ClosureRefused("evidence.workload", f"{path} is no whole ELF file: {error}") from error
    needed, searched = "needed", {"DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}  # attributes that the library sets
    names = [str(getattr(tag, needed)) for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
    listed = [str(getattr(tag, searched[tag.entry.d_tag])) for tag in tags if tag.entry.d_tag in searched]
    origin = str(path.resolve().parent)
    folders = [
        folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for line in listed for folder in line.split(":")
    ]
    return names, [Path(folder) for folder in folders if folder]


def _loader_cache() -> dict[str, list[Path]]:
    """What the dynamic loader would find, by name, for this machine's own architecture."""
    try:
        listed = subprocess.run([LDCONFIG, "-p"], capture_output=True, text=True, check=True, timeout=30, env={})  # noqa: S603 - a fixed path, no input
    except (OSError, subprocess.SubprocessError) as error:
        raise ClosureRefused(
            "evidence.workload", f"{LDCONFIG} -p does not answer ({error}); glibc's is needed"
        ) from error
    bits = "x86-64" if sys.maxsize > 2**32 and sysconfig.get_platform().endswith("x86_64") else "AArch64"
    cache: dict[str, list[Path]] = {}
    for line in listed.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        if arrow and bits in name:
            cache.setdefault(name.split(" ", 1)[0], []).append(Path(place))
    return cache
