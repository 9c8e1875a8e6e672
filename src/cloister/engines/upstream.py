"""The upstream engine: starts somebody else's server, as its definition says, and serves what is asked of it.

The server is one process for all requests; each request's adapter is a process of its own. Where the server ends, or
what serves, all ends, and the gateway starts it anew. What it prints goes nowhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from cloister.engines import ended, model_folder
from cloister.engines.server import Server, inherited_listener
from cloister.engines.upstream_adapter import Adapter
from cloister.engines.upstream_link import Place
from cloister.engines.upstream_memory import hold_requests
from cloister.engines.upstream_request import Salts
from cloister.errors import MalformedInput
from cloister.formats.upstream import FILE, Upstream, parse_upstream

FOLDER: Final = "/app/upstream"
SOCKET: Final = "/tmp/upstream.sock"  # noqa: S108 - the sandbox's own, in memory
PORT: Final = 8080  # of a network that nothing else is in
_LOOK_SECONDS: Final = 0.1
# What every server has; a definition's own variables come after it.
_USUAL: Final = {"PATH": f"{FOLDER}/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LD_LIBRARY_PATH": "/app/lib"}  # noqa: S108
MIB: Final = 1024 * 1024


def main() -> None:
    """Serve, once the upstream says that it can be asked, and answers as it must."""
    definition = parse_upstream(Path(FOLDER, FILE).read_bytes())
    folder = model_folder.folder()
    places = {
        "socket": SOCKET,
        "port": str(PORT),
        "folder": FOLDER,
        "model": str(folder or ""),
        "python": sys.executable,
    }
    place = Place(
        SOCKET if definition.listens == "socket" else ("127.0.0.1", PORT),
        definition.silence_seconds,
        definition.answer_mib * MIB,
    )
    adapter = Adapter(definition, place, Salts(), definition.filled(definition.model, places), folder)
    process = start(definition, places)
    wait_until_ready(adapter, process)
    if (status := adapter.shortfall()) is not None:
        raise SystemExit(status)
    serve(adapter, process)


def start(definition: Upstream, places: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the server; it inherits no descriptor and no variable."""

    def fill(text: str) -> str:
        return definition.filled(text, places)

    try:
        return subprocess.Popen(  # noqa: S603 - the measured definition's own words
            [fill(word) for word in definition.command],
            env=_USUAL | {name: fill(value) for name, value in definition.environment.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/tmp",  # noqa: S108 - the sandbox's own
        )
    except OSError as error:
        raise SystemExit(ended.NOT_STARTED) from error


def wait_until_ready(adapter: Adapter, process: subprocess.Popen[bytes]) -> None:
    """Return when it answers its readiness path; end where it has ended, or takes longer than its definition says."""
    until = time.monotonic() + adapter.definition.ready_seconds
    while not adapter.listens():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(ended.NOT_READY)
        time.sleep(_LOOK_SECONDS)


def serve(adapter: Adapter, process: subprocess.Popen[bytes]) -> NoReturn:
    """Serve in a process beside the upstream, and end with whichever of the two ends first."""
    listener = inherited_listener()
    serving = os.fork()
    if serving == 0:
        try:
            hold_requests()
            Server(listener, adapter.handler, at_once=adapter.definition.at_once).run()
        finally:
            os._exit(1)
    while os.wait()[0] not in {serving, process.pid}:
        pass
    os._exit(1)


if __name__ == "__main__":
    try:
        main()
    except MalformedInput as error:
        raise SystemExit(ended.UNSERVABLE) from error
