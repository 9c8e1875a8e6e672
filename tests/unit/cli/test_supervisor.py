import asyncio
import os
import signal
import sys
import time

import pytest

from cloister.cli.local.supervisor import Role, RoleFailed, Supervisor
from cloister.hosting.processes import lives, name_of

SERVES = "import sys, time; open(sys.argv[1], 'w').write('1'); time.sleep(60)"
STUBBORN = (
    "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w').write('1'); time.sleep(60)"
)
FAILS = "import sys; sys.stderr.write('cloister: refused by evidence.workload: another\\n'); sys.exit(3)"
LEAVES_A_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open(sys.argv[1] + ".child", "w").write(str(child.pid))
open(sys.argv[1], "w").write("1")
time.sleep(60)
"""


@pytest.fixture
async def supervisor():
    said: list[str] = []
    made = Supervisor({"PATH": os.environ["PATH"]}, said.append, lambda: None)
    yield made, said
    await made.stop()


def role(folder, program, name="role"):
    announces = folder / f"{name}.ready"
    return Role(
        name=name,
        command=[sys.executable, "-c", program, str(announces)],
        port=1,
        log=folder / f"{name}.log",
        announces=announces,
        health_port=None,
    )


def child(folder):
    """The child that a role left behind says that it is."""
    name = name_of(int((folder / "role.ready.child").read_text()))
    assert name is not None
    return name


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)


async def test_a_role_that_ends_is_named_and_started_again(supervisor, tmp_path):
    watched, said = supervisor
    one = role(tmp_path, SERVES)
    await watched.start([one])
    first = one.named
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: "role is ready again" in said)
    assert "role ended (killed by SIGKILL); starting it again in 0.5 s" in said
    assert one.named != first
    assert one.restarts == 1


async def test_a_role_that_keeps_ending_is_started_later_each_time_with_its_last_words(supervisor, tmp_path):
    watched, said = supervisor
    one = role(tmp_path, SERVES)
    await watched.start([one])
    one.command = [sys.executable, "-c", FAILS]
    os.kill(one.named.pid, signal.SIGKILL)
    await until(lambda: len([line for line in said if "ended" in line]) >= 3)
    ends = [line for line in said if "ended" in line]
    assert ends[1] == "role ended (refused by evidence.workload: another); starting it again in 1 s"
    assert ends[2].endswith("starting it again in 2 s")


async def test_a_role_that_does_not_start_fails_the_start_with_its_last_words(supervisor, tmp_path):
    watched, _ = supervisor
    with pytest.raises(RoleFailed, match=r"role did not start \(refused by evidence.workload: another\)"):
        await watched.start([role(tmp_path, FAILS)])


async def test_all_end_together_and_who_does_not_want_to_is_killed_in_five_seconds(supervisor, tmp_path):
    watched, _ = supervisor
    roles = [role(tmp_path, SERVES, "one"), role(tmp_path, STUBBORN, "two")]
    await watched.start(roles)
    names = [one.named for one in roles]
    started = time.monotonic()
    await watched.stop()
    assert time.monotonic() - started < 5
    assert not any(lives(name) for name in names)


async def test_a_child_that_was_there_before_is_left_alone(supervisor, tmp_path):
    watched, _ = supervisor
    other = await asyncio.create_subprocess_exec("sleep", "60")
    await watched.start([role(tmp_path, SERVES)])
    await watched.stop()
    assert other.returncode is None
    other.kill()
    await other.wait()


async def test_what_a_role_leaves_behind_is_ended_with_it(supervisor, tmp_path):
    watched, said = supervisor
    one = role(tmp_path, LEAVES_A_CHILD)
    await watched.start([one])
    first = child(tmp_path)
    os.kill(one.named.pid, signal.SIGKILL)
    await until(lambda: "role is ready again" in said)
    assert not lives(first)
    second = child(tmp_path)
    await watched.stop()
    assert not lives(second)


WAITS_FOR_A_PARTY = """
import http.server, json, pathlib, sys
given = pathlib.Path(sys.argv[1] + ".given")

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        missing = [] if given.exists() else ["a key: the assets of its parties: asset.deposit: words (of Models Ltd)"]
        body = json.dumps({"ready": not missing, "missing": missing}).encode()
        self.send_response(200 if not missing else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Health)
open(sys.argv[1], "w").write(str(server.server_port))
server.serve_forever()
"""


async def test_a_role_that_waits_for_a_party_holds_nobody_up_and_is_told_of_when_it_has_what_it_waits_for(
    supervisor, tmp_path
):
    watched, said = supervisor
    waiting, other = role(tmp_path, WAITS_FOR_A_PARTY, "gateway"), role(tmp_path, SERVES, "proxy")
    waiting.health_port = 0  # learnt below, before anybody asks there
    starting = asyncio.create_task(watched.start([waiting, other]))
    await until(waiting.announces.exists)
    await until(waiting.announces.read_text)
    waiting.health_port = int(waiting.announces.read_text())
    async with asyncio.timeout(20):
        await starting
    assert said[0].startswith("  gateway  waits: a key: the assets of its parties: asset.deposit")
    assert said[1] == "  proxy    ready"
    assert (waiting.ready, other.ready) == (False, True)
    (tmp_path / "gateway.ready.given").touch()
    await until(lambda: "gateway is ready" in said)
    assert (waiting.ready, waiting.missing) == (True, "")
