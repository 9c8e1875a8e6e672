"""`cloister exec` as its users have it: a process, the program in it, and what is left when both have ended."""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
from tests.doubles.command_line import environment
from tests.doubles.http_peers import serving

from cloister.cli.pointed import pointed
from cloister.formats.trust_policy import format_trust_policy

ASKING = """
import json, os, urllib.request
request = urllib.request.Request(
    os.environ["OPENAI_BASE_URL"] + "/audio/transcriptions",
    b"RIFF a voice",
    {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "audio/wav"},
)
print(json.load(urllib.request.urlopen(request))["text"])
"""
WAITING = """
import signal, sys, time
def end(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(7)
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), end)
print("waiting", flush=True)
time.sleep(60)
"""
COUNTING = """
import signal, time
count = []
signal.signal(signal.SIGINT, lambda *_: count.append(1))
print("waiting", flush=True)
end = time.monotonic() + 60
while not count and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.5)
print("interrupted", len(count), flush=True)
"""
TELLING = """
import json, os, sys
print(json.dumps({name: os.environ.get(name) for name in json.loads(os.environ["TOLD"])}), flush=True)
sys.stdin.read()
"""
IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@contextlib.asynccontextmanager
async def running(service, home, *program, before=(), policy=None, **variables):
    """`cloister exec` with `program`; killed at the end, if it has not ended."""
    (home / "policy.toml").write_text(format_trust_policy(service.world.policy(**policy or {}), comment="tests"))
    async with serving(service.answer) as relay, asyncio.timeout(40):
        process = await asyncio.create_subprocess_exec(
            *(*before, sys.executable, "-m", "cloister", "exec", "--policy", "policy.toml", "--relay", str(relay)),
            *("--", *program),
            env=environment(home, **variables),
            cwd=home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.stdin.close()  # what a program may still wait for
            await process.communicate()


def python(source):
    return (sys.executable, "-u", "-c", source)


async def test_the_programs_requests_are_sealed_and_its_receipts_are_kept(service, tmp_path):
    async with running(service, tmp_path, *python(ASKING)) as process:
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"a spoken sentence\n", b"")
    assert service.opened[0].body == b"RIFF a voice"
    assert len(list((tmp_path / "receipts").iterdir())) == 1


async def test_the_exit_code_is_the_programs(service, tmp_path):
    async with running(service, tmp_path, *python("import sys; sys.exit(42)")) as process:
        assert await process.wait() == 42


async def test_a_program_that_a_signal_ended_is_told_as_a_shell_tells_it(service, tmp_path):
    async with running(service, tmp_path, *python("import os; os.kill(os.getpid(), 9)")) as process:
        assert await process.wait() == 128 + signal.SIGKILL


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
async def test_a_signal_reaches_the_program_whose_end_is_the_end(name, service, tmp_path):
    async with running(service, tmp_path, *python(WAITING)) as process:
        assert await process.stdout.readline() == b"waiting\n"
        process.send_signal(getattr(signal, name))
        out, _ = await process.communicate()
    assert (process.returncode, out.decode().strip()) == (7, name)


async def test_a_key_of_the_terminal_reaches_the_program_once(service, tmp_path):
    terminal = (sys.executable, "-c", IN_A_TERMINAL)
    async with running(service, tmp_path, *python(COUNTING), before=terminal) as process:
        assert await process.stdout.readline() == b"waiting\r\n"
        process.stdin.write(b"\x03")
        lines = [line async for line in process.stdout]
    assert lines[-1] == b"^Cinterrupted 1\r\n"


def contents(folder, pattern):
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # a folder, or a process that has ended
            yield path.read_bytes()


async def told(process):
    return json.loads(await process.stdout.readline())


async def test_the_key_is_in_the_programs_environment_and_nowhere_else(service, tmp_path):
    async with running(service, tmp_path, *python(TELLING), TOLD='["OPENAI_API_KEY"]') as process:
        key = (await told(process))["OPENAI_API_KEY"].encode()
        seen = [*contents(tmp_path, "**/*"), *contents(Path("/proc"), "[0-9]*/cmdline")]
    assert len(key) >= 32
    assert any(TELLING.encode() in content for content in seen)
    assert not any(key in content for content in seen)


async def test_no_web_proxy_of_the_environment_is_asked_for_the_loopback_address(service, tmp_path):
    names = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "NO_PROXY", "no_proxy", "MINE"]
    mine = {"NO_PROXY": "intranet", "HTTP_PROXY": "http://proxy:3128", "MINE": "kept", "TOLD": json.dumps(names)}
    async with running(service, tmp_path, *python(TELLING), **mine) as process:
        found = await told(process)
    assert found["NO_PROXY"] == "intranet,127.0.0.1"
    assert found["no_proxy"] == "127.0.0.1"
    assert found["OPENAI_API_BASE"] == found["OPENAI_BASE_URL"]
    assert found["MINE"] == "kept"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_proxy_ends_with_the_command_whatever_ends_it(number, service, tmp_path):
    async with running(service, tmp_path, *python(TELLING), TOLD='["OPENAI_BASE_URL"]') as process:
        port = int((await told(process))["OPENAI_BASE_URL"].rpartition(":")[2].partition("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()
        process.send_signal(number)
        process.stdin.close()  # where the program outlives the command, it ends so
        await process.wait()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_before_a_service_that_is_refused_nothing_starts(service, tmp_path):
    async with running(service, tmp_path, "touch", "started", policy={"unsafe": ()}) as process:
        _, err = await process.communicate()
    assert (process.returncode, (tmp_path / "started").exists()) == (3, False)
    assert b"refused by trust.unsafe" in err


async def test_a_program_that_is_not_there_is_a_wrong_usage(service, tmp_path):
    async with running(service, tmp_path, "no-such-program") as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert err.startswith(b"cloister: no-such-program cannot be run: No such file or directory\n")


async def test_options_of_the_program_are_its_own(service, tmp_path):
    async with running(service, tmp_path, "echo", "--policy", "--", "-h") as process:
        out, _ = await process.communicate()
    assert out == b"--policy -- -h\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "127.0.0.1"), ("intranet", "intranet,127.0.0.1"), ("127.0.0.1,intranet", "127.0.0.1,intranet")],
)
def test_the_loopback_address_is_taken_out_of_web_proxies_once(before, after):
    found = pointed({"no_proxy": before}, "http://127.0.0.1:1/v1", "key")
    assert found["no_proxy"] == after
