"""A folder of copies is there whole or not at all, and what is kept for the next one is what its digest says."""

import os
import subprocess
import sys

import pytest
from tests.doubles.mounts import READ_ONLY, in_python
from tests.doubles.sandboxes import FAULTY, traversable_folder

from cloister.sandbox import closure
from cloister.sandbox.closure import ECHO, Engine, stage
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.staged_files import copy, digest_of, file_digests, prune, require_whole


@pytest.fixture
def place(tmp_path):
    (tmp_path / "source").write_text("old")
    return tmp_path


def copied(place, *, before=lambda: None):
    """The folder that `source` is copied to, as `one`; `before` comes between its digest and its copy."""
    sources = {"one": place / "source"}
    digests = file_digests(sources)
    folder = place / "stage" / digest_of(digests).hex()
    before()
    copy(sources, digests, folder, ())
    return folder


def left(place):
    return {path.name for path in (place / "stage").iterdir()}, list((place / "stage" / "files").iterdir())


def test_a_file_that_changes_between_its_digest_and_its_copy_is_refused_and_kept_nowhere(place):
    with pytest.raises(SandboxUnavailable, match="one and 0 others changed while they were copied: start again"):
        copied(place, before=lambda: (place / "source").write_text("new"))
    assert left(place) == ({"files"}, [])
    (place / "source").write_text("old")
    assert (copied(place) / "one").read_text() == "old"


def test_a_kept_file_that_was_damaged_is_refused_once_and_then_made_anew(place):
    digest = file_digests({"": place / "source"})[""]
    (place / "stage" / "files").mkdir(parents=True)
    (place / "stage" / "files" / digest.hex()).write_text("damaged")
    with pytest.raises(SandboxUnavailable, match="changed while they were copied"):
        copied(place)
    assert (copied(place) / "one").read_text() == "old"


def test_what_a_killed_copier_left_goes_and_what_another_is_at_stays(place):
    folder = copied(place)
    for name in ("unfinished-old", "unfinished-new"):
        (folder.parent / name / "lib").mkdir(parents=True)
    hours_ago = folder.parent.stat().st_mtime - 7200
    os.utime(folder.parent / "unfinished-old", (hours_ago, hours_ago))
    prune(folder.parent)
    assert left(place)[0] == {"files", folder.name, "unfinished-new"}


USING = """
import sys; from pathlib import Path
from cloister.sandbox.staged_files import use
use(Path(sys.argv[1]))
print(flush=True)
sys.stdin.read()
"""


def test_what_was_used_longest_ago_goes_unless_a_process_that_uses_it_still_runs(place):
    folders = []
    for number in range(6):
        (place / "source").write_text(str(number))
        folders.append(copied(place))
        os.utime(folders[-1], (number, number))
    command = [sys.executable, "-c", USING, str(folders[0])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        prune(folders[0].parent)
        assert [folder.exists() for folder in folders] == [True, False, True, True, True, True]
        user.communicate()
    prune(folders[0].parent)
    assert [folder.exists() for folder in folders] == [False, False, True, True, True, True]


def test_of_two_that_copy_the_same_the_first_stays(place):
    first = copied(place)
    was = first.stat().st_ino
    assert copied(place) == first
    assert first.stat().st_ino == was
    assert left(place)[0] == {"files", first.name}


def test_a_copy_that_was_exchanged_is_refused_by_its_name(place):
    folder = copied(place)
    require_whole(folder, bytes.fromhex(folder.name))
    (folder / "more").write_text("")
    with pytest.raises(SandboxUnavailable, match="holds other files than its name says"):
        require_whole(folder, bytes.fromhex(folder.name))


@pytest.fixture
def engine(place):
    (place / "tree").mkdir()
    (place / "tree" / "server").write_text("old")
    return Engine("x", FAULTY.program, tree=place / "tree")


def test_an_engine_whose_files_are_exchanged_while_it_is_staged_is_refused_once(engine, monkeypatch):
    def exchanged(*arguments):
        (engine.tree / "server").write_text("new")
        copy(*arguments)

    with traversable_folder() as folder:
        monkeypatch.setattr(closure, "copy", exchanged)
        with pytest.raises(SandboxUnavailable, match=r"upstream/server and 0 others changed"):
            stage(engine, folder)
        monkeypatch.undo()
        (engine.tree / "server").write_text("old")
        assert (stage(engine, folder).folder / "upstream" / "server").read_text() == "old"


STAGING = """
import sys; from pathlib import Path
from cloister.sandbox.closure import ECHO, Engine, stage
one, other = ECHO, Engine("other", ECHO.program, tree=Path(sys.argv[1]))
stages = Path(sys.argv[2])
assert stage(one, stages).folder.parent == stages
stage(other, stages)
"""


def test_an_image_that_is_read_only_may_hold_what_is_staged(engine):
    with traversable_folder() as folder:
        stage(ECHO, folder)
        done = in_python(READ_ONLY, folder, STAGING, engine.tree, folder)
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(
        f"cloister.sandbox.errors.SandboxUnavailable: the engine other could not be staged in {folder}: "
    )
    assert "Read-only file system" in said
