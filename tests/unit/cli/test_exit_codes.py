import errno
import importlib
import os
import pkgutil
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.doubles.command_line import cloister_command, environment

import cloister
from cloister.cli.exit_codes import EXIT_CODES, FOLDER
from cloister.cli.failure import of_machine, sentences
from cloister.client.durable import create_file, replace_file
from cloister.errors import CloisterError, Refused, TooLarge, Unavailable

REPOSITORY = Path(__file__).parents[3]
ROW = re.compile(r"^\| \[(\d+)\]\((.+)\) \| (\w+) \| (.+) \|$", re.MULTILINE)


def every_error():
    """Each class of error in the package."""
    for module in pkgutil.walk_packages(cloister.__path__, "cloister."):
        if ".engines." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, queue = [], [CloisterError]
    while queue:
        queue += (kinds := queue.pop().__subclasses__())
        found += kinds
    return found


def test_every_code_has_a_page_and_its_row_in_the_table():
    rows = ROW.findall((REPOSITORY / FOLDER / "README.md").read_text())
    assert rows == [(str(one.code), Path(one.page).name, one.name, one.says) for one in EXIT_CODES]
    for one in EXIT_CODES:
        assert (REPOSITORY / one.page).read_text().startswith(f"# {one.code}: ")


def test_every_error_has_one_of_the_codes():
    codes = {one.code for one in EXIT_CODES} - {0, 130}
    errors = every_error()
    assert len(errors) > 50
    assert {error.exit_code for error in errors} == codes


@pytest.mark.parametrize(
    ("error", "page"),
    [
        (CloisterError("it broke"), "1-fault"),
        (TooLarge("too much"), "2-usage"),
        (Refused("trust.unsafe", "not accepted"), "3-refused"),
        (Unavailable("not now"), "4-unavailable"),
    ],
)
def test_under_an_error_stands_the_page_of_its_code(error, page):
    assert sentences(error)[-1].endswith(f": {FOLDER}/{page}.md")


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.ENOSPC, 4, "/a/file: No space left on device. Make room there"),
        (errno.EACCES, 2, "/a/file: Permission denied. Run the command as the owner"),
        (errno.EIO, 1, "/a/file: Input/output error"),
    ],
)
def test_what_the_machine_does_not_do_is_a_sentence_with_the_file_and_a_code(number, code, says):
    told = of_machine(OSError(number, os.strerror(number), "/a/file"))
    assert (told.exit_code, str(told).startswith(says)) == (code, True)


@pytest.mark.parametrize("command", ["--help", "config show --json", "env --help"])
def test_where_standard_output_is_full_that_is_said(tmp_path, command):
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "cloister", *command.split()],
            env=environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 4
    assert ran.stderr.startswith("cloister: standard output: No space left on device")


def test_a_file_that_could_not_be_written_is_named_and_what_stood_there_stays(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"before")
    own = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, own[1]))
    try:
        for write in (replace_file, create_file):
            with pytest.raises(OSError, match="File too large") as raised:
                write(path if write is replace_file else tmp_path / "new", b"x" * 1000)
            assert Path(raised.value.filename).parent == tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, own)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("kept", b"before")]


FULL = """
mount -t tmpfs -o size=256k none "$1" && chmod 700 "$1" && head -c 260000 /dev/zero >"$1/fill"
"$0" -m cloister up --state "$1"
code=$?
rm "$1/fill"
"$0" -m cloister config show --state "$1" >/dev/null
exit $code
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_is_named_with_the_file_that_it_has_no_room_for(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL, sys.executable, str(state)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 4, ran.stderr
    assert f"cloister: {state}" in ran.stderr
    assert "No space left on device. Make room there and run the command again" in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_misspelt_command_is_told_the_nearest(tmp_path):
    ran = await cloister_command("trancribe", home=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "cloister: no such command: trancribe; did you mean transcribe?",
        "  how it is used: cloister --help",
        "  exit code 2, usage: docs/exit-codes/2-usage.md",
    ]
