"""Completion, in the shells themselves: what a person gets who presses the tab key."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
from tests.doubles.command_line import SOURCE, environment

from cloister.cli.main import COMMANDS

# Each is told what was typed, and prints what it would offer, a line each.
BASH = """
source completion
COMP_WORDS=({words} '{last}'); COMP_CWORD={count}
_cloister_completion cloister 2>&1
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = """
source completion
complete --do-complete '{line}'
"""
ZSH_READY = "unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -D -u; source ./completion; print rea''dy\n"


@pytest.fixture
def home(tmp_path):
    """A home with a `cloister` on the path, a speech file and what each shell sources."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "cloister"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cloister "$@"\n')
    program.chmod(0o755)
    (tmp_path / "monday.wav").write_bytes(b"")
    return tmp_path


def variables(home):
    return environment(home, PATH=f"{home / 'bin'}:{os.environ['PATH']}", PYTHONPATH=str(SOURCE), TERM="dumb")


def sourced(home, shell):
    """Print the completion of `shell` into the file that it sources."""
    ran = subprocess.run(["cloister", "completion", shell], env=variables(home), capture_output=True, check=True)
    (home / "completion").write_bytes(ran.stdout)


def offered(home, shell, line):
    """What bash or fish offers for `line`."""
    *words, last = line.split(" ")
    program = {"bash": BASH, "fish": FISH}[shell].format(line=line, words=" ".join(words), last=last, count=len(words))
    command = [shell, {"bash": "--norc", "fish": "-N"}[shell], "-c", program]
    ran = subprocess.run(
        command, env=variables(home), cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    return [found.partition("\t")[0].strip() for found in ran.stdout.split("\n") if found.strip()]


def installed(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=installed(shell)) for shell in ("bash", "fish")])
def test_the_shell_offers_commands_options_and_choices(shell, home):
    sourced(home, shell)
    assert offered(home, shell, "cloister tr") == ["transcribe"]
    assert set(offered(home, shell, "cloister ")) >= set(COMMANDS)
    assert "--model" in offered(home, shell, "cloister transcribe --mo")
    assert offered(home, shell, "cloister service ga") == ["gateway"]
    assert offered(home, shell, "cloister receipt ve") == ["verify"]


@installed("fish")
def test_fish_offers_files(home):
    sourced(home, "fish")
    assert offered(home, "fish", "cloister transcribe mon") == ["monday.wav"]


@installed("zsh")
def test_zsh_completes_at_a_terminal(home):
    sourced(home, "zsh")
    terminal, inside = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        env=variables(home),
        cwd=home,
        start_new_session=True,
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    try:
        typed(terminal, ZSH_READY, until="ready")
        for line, becomes in (
            ("cloister tr", "cloister transcribe"),
            ("cloister service ga", "cloister service gateway"),
            ("cloister transcribe mon", "cloister transcribe monday.wav"),
            ("cloister transcribe --mo", "cloister transcribe --model"),
        ):
            typed(terminal, line + "\t", until=becomes)
            typed(terminal, "\x15", until="")  # the line is emptied
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
        os.close(inside)


def typed(terminal, keys, *, until):
    """Type `keys`, and read the screen until it shows `until`."""
    os.write(terminal, keys.encode())
    screen, deadline = "", time.monotonic() + 30
    while until not in screen:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], screen
        screen = as_shown(screen + os.read(terminal, 4096).decode(errors="replace"))


def as_shown(written):
    """The text without what moves the cursor; a character taken back is gone."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07", "", written)
    while "\x08" in plain:
        plain = re.sub(r"[^\x08]\x08|^\x08", "", plain, count=1)
    return plain
