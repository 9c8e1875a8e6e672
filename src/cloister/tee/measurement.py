"""The workload measurement: SHA-384 over the manifest of everything that runs.

Specified in docs/formats/workload-measurement.md.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cbor2

from cloister.errors import Refused
from cloister.tee.closure import is_elf, list_closure, mapped, shared_objects
from cloister.tee.launch import loader_settings, loads_no_bytecode
from cloister.tee.places import says_where_it_lies, without_places

MANIFEST_TAG = "cloister workload v1"
THREADS = 2  # hashing releases the interpreter's lock
AT_ONCE = 64  # files for a thread: a task for each costs more than most files do
SMALL = 1 << 20  # bytes: read at once


class MeasurementRefused(Refused):
    """This process cannot truly say what it runs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What runs: each file by its name and SHA-256, and the measurement over all of them."""

    workload: bytes  # 48 bytes
    manifest: tuple[tuple[str, bytes], ...]

    def with_extra(self, extra: Mapping[str, bytes]) -> Measured:
        """The same files, and further digests by name: of the sandbox profile, for one."""
        return _measured((*self.manifest, *((f"extra/{name}", digest) for name, digest in sorted(extra.items()))))

    def differences(self, before: Mapping[str, bytes]) -> list[str]:
        """The names that were added, removed or changed since `before`."""
        now = dict(self.manifest)
        return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def measure_this_process(extra: Mapping[str, bytes]) -> Measured:
    """Measure what this process runs, and `extra`: further digests by name, as that of the sandbox profile.

    Raises:
        MeasurementRefused: bytecode could have been loaded, a variable can load other code, or something mapped as
            code is not in the closure.
        ClosureRefused: something needed cannot be found or read.
    """
    if not loads_no_bytecode():
        command = "python -I -B -X pycache_prefix=… -m cloister (see cloister.tee.launch)"
        raise MeasurementRefused("evidence.workload", f"bytecode may have been loaded; start it as {command}")
    if settings := loader_settings():
        # What is mapped now is checked below; what an extension module loads later would come from elsewhere unseen.
        raise MeasurementRefused("evidence.workload", f"{', '.join(settings)} can load other code: unset it")
    closure = list_closure(sys.path, Path(sys.executable))
    stray = sorted(str(path) for path in mapped() - {path.resolve() for path in closure.values() if path})
    if stray:
        raise MeasurementRefused("evidence.workload", f"{', '.join(stray)} runs here and is no part of the closure")
    return measure(closure, extra)


def measure(closure: Mapping[str, Path | None], extra: Mapping[str, bytes]) -> Measured:
    """The measurement over the files of `closure` and the digests `extra`."""
    names = sorted(closure)
    pieces = [[closure[name] for name in names[at : at + AT_ONCE]] for at in range(0, len(names), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as threads:
        digests = [digest for piece in threads.map(_digests, pieces) for digest in piece]
    return _measured(tuple(zip(names, digests, strict=True))).with_extra(extra)


def measured_needs(files: Iterable[Path]) -> dict[str, bytes]:
    """SHA-256 of the system's shared objects that the ELF files among `files` need, by name; empty for one not there.

    Raises:
        ClosureRefused: a file is no whole ELF file, or this system has no loader cache to ask.
    """
    present = list(files)
    needed = shared_objects([file for file in present if is_elf(file)], frozenset(file.name for file in present))
    return {name: _digest(place) for name, place in needed.items()}


def _measured(manifest: tuple[tuple[str, bytes], ...]) -> Measured:
    encoded = cbor2.dumps([MANIFEST_TAG, [list(row) for row in manifest]], canonical=True)
    return Measured(hashlib.sha384(encoded).digest(), manifest)


def _digests(paths: list[Path | None]) -> list[bytes]:
    return [_digest(path) for path in paths]


def _digest(path: Path | None) -> bytes:
    """SHA-256 of a file; nothing for one that is not there."""
    if path is None:
        return b""
    if says_where_it_lies(path):
        return hashlib.sha256(without_places(path)).digest()
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= SMALL:
            return hashlib.sha256(file.read()).digest()
        return hashlib.file_digest(file, "sha256").digest()
