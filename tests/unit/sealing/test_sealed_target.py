"""What is sealed goes past the page cache where that can be, and to the same bytes where it cannot."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.doubles.plain_models import KEY, Watched, opened, write_model

from cloister.crypto.sealed_stream import SEGMENT
from cloister.sealing.artifact import seal_folder
from cloister.sealing.sealed_target import SealedTarget, segment_room

CONTENT = os.urandom(SEGMENT)


@pytest.fixture
def descriptor(tmp_path):
    found = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield found
    os.close(found)


def aligned():
    room = segment_room()
    room[:] = CONTENT
    return room


@pytest.mark.parametrize(
    ("at", "data"),
    [
        (SEGMENT, aligned()),
        (SEGMENT, memoryview(b"." + CONTENT)[1:]),  # not where the kernel can take it from
        (17, aligned()),
        (SEGMENT, aligned()[:-1]),
        (SEGMENT, aligned()[:0]),
    ],
)
def test_it_is_written_whole_wherever_it_lies_and_goes(descriptor, at, data):
    with SealedTarget(descriptor, 3 * SEGMENT) as target:
        target.write(at, data)
    assert os.pread(descriptor, len(data), at) == data
    assert os.fstat(descriptor).st_size == 3 * SEGMENT


def test_a_file_system_without_such_a_way_is_written_through_the_cache(monkeypatch, descriptor):
    monkeypatch.setattr(os, "O_DIRECT", os.O_DIRECTORY)  # refused of a file, as O_DIRECT is there
    with SealedTarget(descriptor, SEGMENT) as target:
        target.write(0, aligned())
    assert os.pread(descriptor, SEGMENT, 0) == CONTENT


def test_nothing_is_left_open(descriptor):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with SealedTarget(descriptor, 1):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sealed_model_is_not_in_the_cache(tmp_path):
    if subprocess.run(["stat", "-f", "-c", "%T", tmp_path], check=True, capture_output=True).stdout.strip() == b"tmpfs":
        pytest.skip("this machine's /tmp is in memory")
    plain = write_model(tmp_path / "plain", {"model.safetensors": CONTENT * 8})
    seal_folder(plain, tmp_path / "sealed", name="small", key=KEY, progress=Watched())
    (file,) = (tmp_path / "sealed").rglob("*.sealed")
    told = subprocess.run(["fincore", "-nb", "-o", "res", file], check=True, capture_output=True, text=True)
    assert int(told.stdout) <= SEGMENT  # the last part of a segment
    assert opened(tmp_path / "sealed")["model.safetensors"] == CONTENT * 8
