"""Wherever it is killed, the old folder is there or the new one, whole; the next run goes on from that."""

import os
import signal
import sys
from functools import partial

import pytest

from cloister.cli.replaced_folder import replacing
from cloister.errors import UsageError

FILES = ("a", "b")
STEPS = {"ctypes.dlsym", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}  # of Python's audit events


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "engines" / "x", "old")
    return tmp_path / "engines" / "x"


def fill(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text(text)


def held(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def killed(folder, at):
    """Whether a process that replaces `folder` was killed before its step of this number; it ends by itself if not."""
    child = os.fork()
    if child == 0:
        left, ended = iter(range(at)), partial(os.kill, os.getpid(), signal.SIGKILL)
        sys.addaudithook(lambda event, _: ended() if event in STEPS and next(left, None) is None else None)
        with replacing(folder) as new:
            fill(new, "new")
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_wherever_it_is_killed_one_of_the_two_is_there_whole(folder):
    seen: list[dict[str, str]] = []
    while killed(folder, len(seen)):
        seen.append(held(folder))
        fill(folder, "old")
    texts = [set(one.values()) for one in seen]
    assert all(one.keys() == set(FILES) for one in seen)
    assert {"old"} in texts
    assert {"new"} in texts
    assert all(len(text) == 1 for text in texts)
    assert held(folder) == dict.fromkeys(FILES, "new")
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


def test_where_there_was_none_it_is_made(tmp_path):
    with replacing(tmp_path / "x") as new:
        fill(new, "new")
    assert held(tmp_path / "x") == dict.fromkeys(FILES, "new")


def test_what_fails_leaves_the_old_and_nothing_else(folder):
    with pytest.raises(FileNotFoundError), replacing(folder) as new:
        (new / "a").rename(new / "nowhere" / "a")
    assert held(folder) == dict.fromkeys(FILES, "old")
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


def test_what_cannot_be_exchanged_is_left_and_named(folder):
    match = f"{folder} cannot be exchanged in one step .*, and is as it was: remove it"
    with pytest.raises(UsageError, match=match), replacing(folder) as new:
        new.rmdir()  # any reason is as good as a file system's
    assert held(folder) == dict.fromkeys(FILES, "old")
