"""What a system in the background says is said as it comes, each line once, until it is started or has failed."""

import pytest

from cloister.cli.local.followed_log import FollowedLog


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "up.log"
    path.touch()
    return FollowedLog(path)


def write(log, text):
    with log.path.open("a") as file:
        file.write(text)


def test_each_line_is_said_once_when_it_is_whole(log, capsys):
    write(log, "measuring\n  kms ")
    log.follow()
    assert capsys.readouterr().out == "measuring\n"
    write(log, "ready\n")
    log.follow()
    log.follow()
    assert capsys.readouterr().out == "  kms ready\n"


@pytest.mark.parametrize("end", ["ready in 3 s", "started in 3 s, and serves nothing", "cloister: no room"])
def test_from_its_start_or_its_failure_on_it_is_left_to_the_caller(log, capsys, end):
    write(log, f"starting\n{end}\nmore\n")
    log.follow()
    log.follow()
    assert (capsys.readouterr().out, log.rest()) == ("starting\n", f"{end}\nmore\n")
