"""A PostgreSQL server of Debian's package: its own folder and port, started once for a session of tests."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest
from tests.doubles.crashes import MEMORY

USER = "cloister"


def programs():
    """Where the newest server's programs are; None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class Server:
    """One server on a loopback port, which its superuser reaches without a password."""

    def __init__(self, folder):
        self.folder = Path(folder)
        found = programs()
        assert found is not None
        self._programs = found
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        # A server refuses to run as root.
        self._as = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.port = free_port()

    @property
    def data(self):
        return self.folder / "data"

    def _run(self, program, *arguments):
        command = [*self._as, str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def start(self, **settings):
        """Start it, with `settings` of the server, and wait until it takes connections."""
        own = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        own |= {"max_connections": 40, "shared_buffers": "16MB"} | settings
        given = [argument for name, value in own.items() for argument in ("-c", f"{name}={value}")]
        command = [*self._as, str(self._programs / "postgres"), "-D", str(self.data), *given]
        log = (self.folder / "server.log").open("ab")
        # A session of its own: what ends the processes that a test started is not to end it.
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        log.close()
        self._wait()

    def revive(self):
        """Start it again if it ended, which is no fault of the test that comes next; and say how it ended."""
        if self._process is not None and self._process.poll() is not None:
            said = (self.folder / "server.log").read_text()[-2000:]
            sys.stderr.write(f"PostgreSQL had ended with {self._process.returncode}:\n{said}")
            self.start()

    def _wait(self):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                raise AssertionError((self.folder / "server.log").read_text()[-2000:])
            ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start")

    def stop(self, number=signal.SIGINT):
        """Stop it: SIGINT ends its sessions, SIGQUIT is a crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(60)

    def _all(self):
        assert self._process is not None
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    @contextlib.contextmanager
    def paused(self):
        """It stands still, every process of it."""
        stopped = self._all()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def url(self, database):
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database="postgres"):
        return await asyncpg.connect(host="127.0.0.1", port=self.port, user=USER, database=database, ssl=False)

    async def execute(self, sql, *values, database="postgres"):
        """As the superuser, who is the host."""
        connection = await self.connect(database)
        try:
            return await connection.fetch(sql, *values) if values else await connection.execute(sql)
        finally:
            await connection.close()

    async def new_database(self, *, template="template0"):
        """The name of a new one."""
        self._number += 1
        name = f"test_{self._number}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_server(**settings):
    """A server that lives as long as the context; the test is skipped where no package is installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = tempfile.mkdtemp(dir=MEMORY, prefix="postgresql-")
    try:
        server = Server(folder)
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
