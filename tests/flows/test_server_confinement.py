"""Somebody else's program in the sandbox: it starts, is spoken with over its socket, and reaches nothing else."""

import contextlib
import shutil
import socket
from dataclasses import replace

import pytest
from tests.doubles import upstream_server
from tests.doubles.sandboxes import FAULTY, SMALL, post, staged

from cloister.sandbox.errors import EngineCrashed
from cloister.sandbox.plan import plan
from cloister.sandbox.service import EngineService

ASK = """
import os, socket, subprocess, time
def ask(place, family, command):
    server = subprocess.Popen(command, env={"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/app/lib"})
    try:
        for _ in range(500):
            with socket.socket(family) as peer:
                try:
                    peer.connect(place)
                except (FileNotFoundError, ConnectionRefusedError):
                    time.sleep(0.01)
                    continue
                peer.sendall(b"a word" + bytes([10]))
                return peer.recv(64)
    finally:
        server.kill(); server.wait()
SERVER = ["/app/bin/python", "-I", "-S", "-B", "/app/upstream/upstream_server.py"]
"""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(upstream_server.__file__, tree)
    (tree / "hello").write_text("#!/bin/sh\necho hello\n")
    with staged(replace(FAULTY, tree=tree)) as ready:
        yield ready


@contextlib.asynccontextmanager
async def confined(upstream, confinement, sizes=SMALL):
    planned = plan(replace(sizes, request_seconds=30), confinement=confinement)
    service = EngineService(planned, upstream.engine, upstream.folder / "run")
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def did(service, code):
    return (await post(service, "/run", (ASK + code).encode())).body.decode()


async def test_a_server_is_started_and_answers_on_a_unix_socket_in_the_scratch(upstream):
    async with confined(upstream, "server") as service:
        code = "result = ask('/tmp/s.sock', socket.AF_UNIX, [*SERVER, '/tmp/s.sock'])"
        assert await did(service, code) == "did it: b'A WORD\\n'"
        code = "result = subprocess.run(['/app/upstream/hello'], capture_output=True).stdout"
        assert await did(service, code) == "did it: b'hello\\n'"


async def test_a_server_that_knows_tcp_alone_answers_on_a_loopback_of_its_own(upstream):
    code = "result = ask(('127.0.0.1', PORT), socket.AF_INET, [*SERVER, 'PORT'])"
    with socket.create_server(("127.0.0.1", 0)) as hosts:
        port = str(hosts.getsockname()[1])
        async with confined(upstream, "loopback") as service:
            assert await did(service, code.replace("PORT", port)) == "did it: b'A WORD\\n'"
            refused = f"socket.create_connection(('127.0.0.1', {port}), 2)"
            assert "ConnectionRefusedError" in await did(service, refused)
            assert "Network is unreachable" in await did(service, "socket.create_connection(('192.0.2.1', 80), 2)")
        async with confined(upstream, "server") as service:
            assert "PermissionError" in await did(service, refused)


@pytest.mark.parametrize("place", ["/tmp/mine", "/dev/shm/mine"])
async def test_it_starts_no_program_of_its_own_making(upstream, place):
    code = f"import shutil; shutil.copy('/usr/bin/true', '{place}'); subprocess.run(['{place}'])"
    async with confined(upstream, "server") as service:
        assert "PermissionError" in await did(service, code)


async def test_what_it_starts_is_confined_as_it_is_and_leaves_no_core_dump(upstream):
    """The child's own limits, and what would be dumped of its memory."""
    code = """
lines = open("/proc/self/limits").read().splitlines()
child = subprocess.run(["/usr/bin/cat", "/proc/self/limits", "/proc/self/coredump_filter", "/proc/self/status"],
    capture_output=True, text=True).stdout.splitlines()
result = [line.split()[-3:-1] if "core file" in line else line for line in child
    if "Max core file" in line or line == "00000000" or line.startswith(("Seccomp:", "NoNewPrivs:", "CapEff:"))]
"""
    async with confined(upstream, "server") as service:
        told = await did(service, code)
    expected = [["1", "1"], "00000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    assert told == f"did it: {expected}"


async def test_it_cannot_allow_itself_core_dumps(upstream):
    code = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    async with confined(upstream, "server") as service:
        assert (await did(service, code)).startswith(("stopped: PermissionError", "stopped: ValueError: not allowed"))
        assert "Permission" in await did(service, "open('/proc/self/coredump_filter', 'w').write('255')")


async def test_tasks_of_all_its_programs_are_capped_together(upstream):
    code = """
started = []
try:
    for _ in range(64): started.append(subprocess.Popen(["/usr/bin/sleep", "30"]))
finally:
    for one in started: one.kill(); one.wait()
"""
    async with confined(upstream, "server") as service:
        assert "BlockingIOError" in await did(service, code)
        assert await did(service, "result = 'it goes on'") == "did it: it goes on"


async def test_memory_of_all_its_programs_is_capped_together(upstream):
    code = """
eat = [*SERVER[:-1], "-c", "hoard = bytearray(b'x') * 200 * 2**20; print(len(hoard), flush=True); input()"]
eaters = [subprocess.Popen(eat, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LD_LIBRARY_PATH": "/app/lib"})
    for _ in range(2)]
said = [one.stdout.readline() for one in eaters]
result = all(said)
"""
    async with confined(upstream, "server") as service:
        if service.plan.profile.limits.held_by == "rlimits":
            pytest.skip("rlimits hold it here, each process's alone")
        with contextlib.suppress(EngineCrashed):
            assert await did(service, code) == "did it: False"
