"""An upstream as an engine: the folder of somebody else's software, with the definition that lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cloister.engines.upstream_memory import adapter_bytes
from cloister.errors import UsageError
from cloister.formats.upstream import FILE, Upstream, parse_upstream
from cloister.sandbox.closure import ENGINES, Engine
from cloister.sandbox.profile import MIB
from cloister.sandbox.sizes import Sizes

_PROGRAM: Final = ENGINES / "upstream.py"
_OURS: Final = ("httptools", "msgspec", "python-multipart")
_TEST_SECONDS: Final = 120  # of its self-test, once it is ready


def read_definition(folder: Path) -> Upstream:
    """The definition in `folder`.

    Raises:
        UsageError: there is none.
        MalformedInput: it is none.
    """
    try:
        return parse_upstream((folder / FILE).read_bytes())
    except OSError as error:
        raise UsageError(
            f"{folder / FILE} cannot be read: {error.strerror}; docs/formats/upstream.md says what it is"
        ) from error


def upstream_engine(folder: Path) -> Engine:
    """The engine that starts the server in `folder`, confined as its definition needs; raises as `read_definition`."""
    definition = read_definition(folder)
    return Engine(
        "upstream",
        _PROGRAM,
        _OURS,
        takes_model="must" if definition.names_model else "may",
        tree=folder,
        confinement="server" if definition.listens == "socket" else "loopback",
        sizes=Sizes(
            memory_bytes=definition.memory_mib * MIB + adapter_bytes(definition.at_once),
            tasks=definition.tasks + definition.at_once + 8,
            open_files=definition.open_files,
            scratch_bytes=definition.scratch_mib * MIB,
        ),
        ready_seconds=definition.ready_seconds + _TEST_SECONDS,
        at_once=definition.at_once,
    )
