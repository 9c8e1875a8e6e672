"""Sealing: what is no model's folder is refused by name before work, and an interrupted run goes on by file."""

import os
import socket

import pytest
from tests.doubles.plain_models import KEY, OTHER_KEY, SMALL, Watched, opened, write_model

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.model_manifest import MAXIMUM_FILE
from cloister.formats.sealed_artifact import parse_unfinished
from cloister.sealing import plain_folder
from cloister.sealing.artifact import open_artifact, seal_folder

BIG = {"a.bin": b"a" * (64 << 20), "b.bin": b"b" * 1000, "c.bin": b"c" * 1000}


class Stop(Exception):
    pass


class Interrupted(Watched):
    """Somebody presses Ctrl-C when the last file is done but not noted."""

    def advanced(self, count):
        super().advanced(count)
        if self.done == self.total:
            raise Stop


@pytest.fixture
def plain(tmp_path):
    return write_model(tmp_path / "plain", SMALL)


def seal(plain, artifact, *, name="small", key=KEY, progress=None):
    return seal_folder(plain, artifact, name=name, key=key, progress=progress or Watched())


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "link.bin").symlink_to("/etc/passwd"), r"link\.bin is a symbolic link"),
        (lambda folder: (folder / "loop").symlink_to(folder), "loop is a symbolic link"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is no plain file"),
        (lambda folder: socket.socket(socket.AF_UNIX).bind(str(folder / "sock")), "sock is no plain file"),
        (lambda folder: (folder / "-rf").write_bytes(b""), "'-rf' is no name"),
        (lambda folder: (folder / "a\nb").write_bytes(b""), r"'a\\nb' is no name"),
        (lambda folder: (folder / os.fsdecode(b"\xff")).write_bytes(b""), "is no name"),
        (lambda folder: os.truncate(folder / "config.json", MAXIMUM_FILE + 1), "the cap is"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_a_model_has_not_is_refused_by_name(plain, tmp_path, spoil, says):
    spoil(plain)
    with pytest.raises((UsageError, MalformedInput), match=says):
        seal(plain, tmp_path / "sealed")
    assert not (tmp_path / "sealed").exists()


def test_too_many_files_are_refused_before_any_is_read(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(plain_folder, "MAXIMUM_FILES", 3)
    with pytest.raises(TooLarge, match="more than 3 files"):
        seal(plain, tmp_path / "sealed")


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no file"):
        seal(tmp_path / "empty", tmp_path / "sealed")


def test_hidden_files_and_the_signature_are_no_part_of_the_model(plain, tmp_path):
    before = seal(plain, tmp_path / "one")
    (plain / ".git").mkdir()
    (plain / ".git" / "config").write_bytes(b"x")
    (plain / "model.sig").write_bytes(b"{}")
    assert seal(plain, tmp_path / "two") == before


def test_a_name_that_the_ledger_could_not_take_is_refused(plain, tmp_path):
    with pytest.raises(UsageError, match="no name of a model"):
        seal(plain, tmp_path / "sealed", name="a\nb")


@pytest.mark.parametrize("where", [".", "sealed"])
def test_an_artifact_within_its_own_model_is_refused(plain, where):
    with pytest.raises(UsageError, match="outside of the folder"):
        seal(plain, plain / where)


def test_a_folder_that_holds_something_is_left_alone(plain, tmp_path):
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "mine").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds something"):
        seal(plain, tmp_path / "sealed")


def test_a_whole_artifact_is_left_alone(plain, tmp_path):
    seal(plain, tmp_path / "sealed")
    with pytest.raises(UsageError, match="whole artifact already"):
        seal(plain, tmp_path / "sealed")


@pytest.fixture
def interrupted(tmp_path):
    plain = write_model(tmp_path / "plain", BIG)
    with pytest.raises(Stop):
        seal(plain, tmp_path / "sealed", name="big", progress=Interrupted())
    return plain, tmp_path / "sealed"


def test_an_interrupted_run_goes_on_where_its_last_noted_file_ended(interrupted):
    plain, artifact = interrupted
    with pytest.raises(UsageError, match="not finished"):
        open_artifact(artifact)
    done = (artifact / "files" / "00000.sealed").read_bytes()
    begun = (artifact / "files" / "00001.sealed").read_bytes()
    progress = Watched()
    manifest = seal(plain, artifact, name="big", progress=progress)
    assert (progress.before, progress.done) == (64 << 20, 2000)
    assert (artifact / "files" / "00000.sealed").read_bytes() == done
    assert (artifact / "files" / "00001.sealed").read_bytes()[:40] != begun[:40], "a nonce is never used twice"
    assert open_artifact(artifact).digest == manifest.digest()
    assert opened(artifact) == BIG
    assert not (artifact / "unfinished.cbor").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": OTHER_KEY}, "under another key"),
        ({"name": "other"}, "under the name big"),
    ],
)
def test_another_run_is_not_gone_on_with(interrupted, change, says):
    plain, artifact = interrupted
    with pytest.raises(UsageError, match=says):
        seal(plain, artifact, **{"name": "big", **change})


def test_a_folder_that_changed_meanwhile_is_not_gone_on_with(interrupted):
    plain, artifact = interrupted
    (plain / "a.bin").write_bytes(b"A" * (64 << 20))
    with pytest.raises(UsageError, match="changed since"):
        seal(plain, artifact, name="big")


def test_a_file_that_changes_while_it_is_sealed_is_refused(tmp_path):
    plain = write_model(tmp_path / "plain", BIG)

    class Writer(Watched):
        def begun(self, total, before):
            super().begun(total, before)
            (plain / "b.bin").write_bytes(b"B" * 1000)

    with pytest.raises(UsageError, match=r"b\.bin was changed meanwhile"):
        seal(plain, tmp_path / "sealed", progress=Writer())


def test_two_runs_do_not_seal_into_one_artifact(tmp_path):
    plain = write_model(tmp_path / "plain", SMALL)

    class Second(Watched):
        def begun(self, total, before):
            super().begun(total, before)
            with pytest.raises(UsageError, match="another run"):
                seal(plain, tmp_path / "sealed")

    seal(plain, tmp_path / "sealed", progress=Second())


def test_the_record_of_an_unfinished_artifact_tells_no_key(interrupted):
    _, artifact = interrupted
    record = (artifact / "unfinished.cbor").read_bytes()
    assert KEY.reveal() not in record
    assert [file.path for file in parse_unfinished(record).files if file.shards is not None] == ["a.bin"]
