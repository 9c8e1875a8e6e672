"""A PostgreSQL server for a bench: Debian's, as it is when nobody tuned it, with a folder and a port of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from measured import cpu_seconds, started

PROGRAMS = Path("/usr/lib/postgresql")
START_SECONDS = 60.0


class PostgresServer:
    """A server that runs, durable as it is by default."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid = pid
        self._port = port

    @property
    def settings(self) -> str:
        """Lines of a ledger's settings."""
        return f'[database]\nurl = "postgresql://cloister@127.0.0.1:{self._port}/postgres"'

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used, the sessions that are open included."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        return sum((cpu_seconds(pid) for pid in (self._pid, *map(int, children))), 0.0)


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """A server whose data lies in `folder`, which is on the disk that is measured."""
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise SystemExit("there is no PostgreSQL here: apt install postgresql")
    data, port = folder / "postgres", _free_port()
    data.mkdir()
    unprivileged = _unprivileged(folder, data)
    options = ["-U", "cloister", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run([*unprivileged, str(found[-1]), "-D", str(data), *options], check=True, capture_output=True)
    command = [*unprivileged, str(found[-1].with_name("postgres")), "-D", str(data), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        ready, end = found[-1].with_name("pg_isready"), time.monotonic() + START_SECONDS
        while subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("PostgreSQL did not start")
            time.sleep(0.05)
        yield PostgresServer(process.pid, port)


def _unprivileged(folder: Path, data: Path) -> list[str]:
    """What makes a command not root's: the server refuses to be."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    folder.chmod(0o711)
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
