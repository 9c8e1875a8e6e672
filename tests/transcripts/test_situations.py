"""What people read when something is wrong with their system: each situation is made, and its transcript run again.

As in test_transcripts.py, `{home}` stands for the home of the commands, `{port}` for a port that another program has,
`{process}` for the number of a process. To write them anew: CLOISTER_RECORD=1 pytest tests/transcripts
"""

import contextlib
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.doubles.command_line import cloister_command
from tests.unit.cli.test_local_terms import FIRST

import cloister
from cloister.cli.local.keys import open_keys
from cloister.cli.state_folder import StateFolder
from cloister.cli.system_record import RoleRecord, SystemRecord, record_path, write_record
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import format_trust_policy
from cloister.hosting.processes import ProcessName, name_of
from cloister.testing.world import World

FOLDER = Path(__file__).parent / "situations"
ENDED = ProcessName(pid=1, started=1, boot="before")


@contextlib.contextmanager
def another_up(state):
    """Another `cloister up` has the folder."""
    with (state.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield {}


@contextlib.contextmanager
def port_taken(state):
    """Another program has the port that is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {"port": taken.getsockname()[1]}


@contextlib.contextmanager
def port_of_last_time_taken(state):
    """Another program has the port that the proxy had at the last start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (state.config / "ports.json").write_bytes(msgspec.json.encode({"proxy": port}))
        yield {"port": port}


def signed(state):
    state.constitutions.write_bytes(encode_list(FIRST.constitutions))
    state.contracts.write_bytes(encode_list(FIRST.contracts))


@contextlib.contextmanager
def contract_lost(state):
    """The contract is gone, and a memory rests on it."""
    signed(state)
    state.contracts.unlink()
    state.memory.write_bytes(b"of before")
    yield {}


@contextlib.contextmanager
def constitution_damaged(state):
    """A byte of the constitution has flipped."""
    signed(state)
    data = bytearray(state.constitutions.read_bytes())
    data[0] ^= 1
    state.constitutions.write_bytes(data)
    yield {}


@contextlib.contextmanager
def key_lost(state):
    """A key is gone that something was signed with."""
    open_keys(state)
    signed(state)
    (state.keys / "operator.seed").unlink()
    yield {}


@contextlib.contextmanager
def folder_of_others(state):
    """Others may read the state folder."""
    state.root.chmod(0o755)
    yield {}


@contextlib.contextmanager
def settings_wrong(state):
    """The person's own settings have three mistakes."""
    state.settings.write_text('engine = "whisper"\nprot = 8484\n\n[kms]\nhead_seconds = "20"\n')
    yield {}


@contextlib.contextmanager
def policy_damaged(state):
    """A key of the trust policy is missing."""
    text = format_trust_policy(World().policy(), comment="tests")
    state.trust_policy.write_text("".join(line for line in text.splitlines(True) if not line.startswith("kems")))
    (state.root.parents[2] / "speech.wav").write_bytes(b"RIFF")
    yield {}


@contextlib.contextmanager
def receipt_damaged(state):
    """A receipt was cut."""
    state.trust_policy.write_text(format_trust_policy(World().policy(), comment="tests"))
    for name in ("speech.wav.receipt", "speech.wav", "out.json"):
        (state.root.parents[2] / name).write_bytes(b"RIFF")
    yield {}


def record(state, process, supervisor):
    role = RoleRecord(
        name="relay", port=1, process=process, ready=True, missing="", restarts=0, log=str(state.logs / "relay.log")
    )
    record = SystemRecord(
        phase="ready",
        supervisor=supervisor,
        relay_url="http://127.0.0.1:1",
        base_url="http://127.0.0.1:1/v1",
        roles=(role,),
    )
    write_record(state, record)


@contextlib.contextmanager
def killed_before(state):
    """A system was killed with the machine: its record is left."""
    record(state, ENDED, ENDED)
    yield {}


@contextlib.contextmanager
def role_down(state):
    """The supervisor runs, a role does not; and the code changed since the start."""
    own = name_of(os.getpid())
    assert own is not None
    record(state, ENDED, own)
    package = Path(cloister.__file__).parent
    digests = {
        f"source/cloister/{path.relative_to(package).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    state.manifest.write_bytes(msgspec.json.encode(digests | {"source/cloister/errors.py": "another"}))
    yield {"process": own.pid}


@contextlib.contextmanager
def other_version(state):
    """Another version of Cloister runs the system."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        supervisor = msgspec.to_builtins(name_of(process.pid))
        record_path(state).write_bytes(msgspec.json.encode({"version": 2, "supervisor": supervisor}))
        yield {}
        process.kill()


@contextlib.contextmanager
def record_damaged(state):
    """The record of the system is no JSON."""
    record_path(state).write_bytes(b"\0" * 100)
    yield {}


SITUATIONS = (
    another_up,
    port_taken,
    port_of_last_time_taken,
    contract_lost,
    constitution_damaged,
    key_lost,
    folder_of_others,
    settings_wrong,
    policy_damaged,
    receipt_damaged,
    killed_before,
    role_down,
    other_version,
    record_damaged,
)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
async def test_whoever_meets_the_situation_reads_what_to_do(situation, tmp_path):
    state = StateFolder(tmp_path / ".local" / "state" / "cloister")
    state.prepare()
    path = FOLDER / f"{situation.__name__.replace('_', '-')}.txt"
    written = path.read_text().splitlines()
    with situation(state) as names:
        said = [f"# {situation.__doc__}"]
        for line in written:
            if line.startswith("$ cloister "):
                said += ["", line, *await ran(line.removeprefix("$ cloister "), tmp_path, names)]
    if os.environ.get("CLOISTER_RECORD"):
        path.write_text("\n".join(said) + "\n")
    assert "\n".join(said) + "\n" == path.read_text()


async def ran(command, home, names):
    """The lines that a command prints."""
    done = await cloister_command(*command.format(**names).split(), home=home)
    said = (done.out + done.err).replace(str(home), "{home}")
    for name, value in names.items():
        said = said.replace(str(value), f"{{{name}}}")
    assert "Traceback" not in said
    return [*said.splitlines(), f"[exit {done.code}]"]
