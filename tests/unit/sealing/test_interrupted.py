"""Runs that end in the middle: each says why by a file's name, leaves nothing half, and is taken up or done anew."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.doubles.plain_models import KEY, SIGNATURE, SMALL, Watched, opened, write_model

from cloister.errors import UsageError
from cloister.sealing.artifact import open_artifact, seal_folder
from cloister.sealing.unseal import unseal
from cloister.storage.key_file import read_model_key

BIG = {"a.bin": b"a" * (64 << 20), "b.bin": b"b" * (64 << 20), "c.bin": b"c" * 1000}
MOST = 1 << 20  # bytes of a file, where there is no room for more


def cloister(*words, limit=None):
    bound = [] if limit is None else ["prlimit", f"--fsize={limit}", "--"]
    command = [*bound, sys.executable, "-m", "cloister", "model", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ran(*words, **how):
    process = cloister(*words, **how)
    said = process.communicate()[1]
    return process.returncode, said


@pytest.fixture
def plain(tmp_path):
    return write_model(tmp_path / "plain", {path: content for path, content in SMALL.items() if content})


@pytest.fixture
def sealed(plain, tmp_path):
    (plain / "model.sig").write_bytes(SIGNATURE)
    seal_folder(plain, tmp_path / "sealed", name="small", key=KEY, progress=Watched())
    return tmp_path / "sealed"


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_killed_is_taken_up(tmp_path):
    plain = write_model(tmp_path / "plain", BIG)
    process = cloister("seal", plain, "-o", tmp_path / "sealed")
    until = time.monotonic() + 60
    while not (tmp_path / "sealed" / "files" / "00000.sealed").exists() and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "sealed" / "unfinished.cbor").exists()
    with pytest.raises(UsageError, match="not finished"):
        open_artifact(tmp_path / "sealed")
    assert ran("seal", plain, "-o", tmp_path / "sealed") == (0, "")
    assert opened(tmp_path / "sealed", read_model_key(tmp_path / "sealed.key")) == BIG


def test_no_room_is_said_of_the_file_before_anything_is_sealed_and_the_run_is_taken_up(plain, tmp_path):
    code, said = ran("seal", plain, "-o", tmp_path / "sealed", limit=MOST)
    assert code == 1
    assert "sealed/files/00001.sealed: File too large" in said
    assert ran("seal", plain, "-o", tmp_path / "sealed") == (0, "")
    assert opened(tmp_path / "sealed", read_model_key(tmp_path / "sealed.key")) == files_in(plain)


def test_no_room_to_unseal_leaves_nothing(sealed, tmp_path):
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(KEY.reveal())
    code, said = ran("unseal", sealed, "-o", tmp_path / "back", "--key", tmp_path / "key", limit=MOST)
    assert code == 1
    assert "model.safetensors: File too large" in said
    assert not (tmp_path / ".back.partial").exists()
    assert files_in(tmp_path / "back") == {}


def test_what_a_killed_run_left_in_the_clear_is_gone_behind_the_next(sealed, plain, tmp_path):
    left = tmp_path / ".back.partial" / "folder" / "weights.bin"
    left.parent.mkdir(parents=True)
    (tmp_path / ".back.partial").chmod(0o700)
    left.write_bytes(b"half of them")
    unseal(open_artifact(sealed), KEY, tmp_path / "back", Watched())
    assert files_in(tmp_path / "back") == files_in(plain)
    assert not (tmp_path / ".back.partial").exists()


def test_two_runs_do_not_unseal_into_one_folder(sealed, tmp_path):
    (tmp_path / ".back.partial").mkdir(mode=0o700)
    descriptor = os.open(tmp_path / ".back.partial", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another run is unsealing"):
        unseal(open_artifact(sealed), KEY, tmp_path / "back", Watched())
    os.close(descriptor)


@pytest.mark.parametrize("make", [lambda place: place.mkdir(mode=0o755), lambda place: place.symlink_to("/tmp")])
def test_nothing_is_unsealed_into_what_somebody_else_put_there(sealed, tmp_path, make):
    make(tmp_path / ".back.partial")
    with pytest.raises(UsageError, match=r"others may look into it|nothing can be written beside"):
        unseal(open_artifact(sealed), KEY, tmp_path / "back", Watched())
    assert files_in(tmp_path / "back") == {}


def test_a_signature_is_in_an_artifact_before_it_is_whole(plain, tmp_path):
    (plain / "model.sig").write_bytes(SIGNATURE)
    (tmp_path / "sealed").mkdir()

    class Unplugged(Watched):
        def begun(self, total, before):
            (tmp_path / "sealed" / "artifact.cbor").mkdir()  # the header cannot take this place

    with pytest.raises(OSError, match=r"artifact\.cbor"):
        seal_folder(plain, tmp_path / "sealed", name="small", key=KEY, progress=Unplugged())
    assert (tmp_path / "sealed" / "model.sig").read_bytes() == SIGNATURE
    (tmp_path / "sealed" / "artifact.cbor").rmdir()
    seal_folder(plain, tmp_path / "sealed", name="small", key=KEY, progress=Watched())
    assert opened(tmp_path / "sealed")["config.json"] == SMALL["config.json"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda place: place.symlink_to("/etc/passwd"), "symbolic link"),
        (os.mkfifo, "no plain file"),
        (lambda place: place.mkdir(), "no plain file"),
    ],
)
def test_a_signature_that_is_no_file_is_refused_by_name(plain, tmp_path, spoil, says):
    spoil(plain / "model.sig")
    with pytest.raises(UsageError, match=rf"model\.sig.*{says}"):
        seal_folder(plain, tmp_path / "sealed", name="small", key=KEY, progress=Watched())
    assert not (tmp_path / "sealed").exists()


def test_a_pipe_in_the_place_of_an_artifacts_signature_is_refused_by_name(sealed, tmp_path):
    (sealed / "model.sig").unlink()
    os.mkfifo(sealed / "model.sig")
    with pytest.raises(UsageError, match=r"model\.sig is no plain file"):
        unseal(open_artifact(sealed), KEY, tmp_path / "back", progress=Watched())
    assert not (tmp_path / "back").exists()
