"""Blobs by digest, and key files."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from cloister.crypto.signing import SigningKey
from cloister.errors import TooLarge, Unavailable, UsageError
from cloister.storage.blobs import BlobFiles, BlobStore, FullStore
from cloister.storage.database_file import CorruptStore
from cloister.storage.key_file import read_signing_key, write_signing_key


def store(folder, *, maximum=100, capacity=250):
    return BlobStore(folder / "blobs", maximum=maximum, capacity=capacity)


def test_a_blob_is_found_by_its_digest_and_stored_once(tmp_path):
    blobs = store(tmp_path)
    digest = blobs.put(b"blob")
    assert digest == blobs.put(b"blob") == hashlib.sha256(b"blob").digest()
    assert blobs.get(digest) == store(tmp_path).get(digest) == b"blob"
    assert [file.name for file in (tmp_path / "blobs").iterdir()] == [digest.hex()]


def test_there_is_no_other_blob(tmp_path):
    assert store(tmp_path).get(bytes(32)) is None


def test_caps_hold_for_one_blob_and_for_all_after_a_restart_too(tmp_path):
    blobs = store(tmp_path)
    with pytest.raises(TooLarge):
        blobs.put(bytes(101))
    for number in range(2):
        blobs.put(bytes([number]) * 100)
    with pytest.raises(FullStore):
        store(tmp_path).put(b"x" * 100)
    assert blobs.put(b"x" * 50)
    assert blobs.put(bytes([1]) * 100)  # stored already


def test_a_damaged_blob_is_never_given_out(tmp_path):
    blobs = store(tmp_path)
    digest = blobs.put(b"blob")
    (tmp_path / "blobs" / digest.hex()).write_bytes(b"blab")
    with pytest.raises(CorruptStore):
        blobs.get(digest)


def test_a_blob_that_a_power_cut_tore_is_mended_by_who_stores_it_again(tmp_path):
    digest = store(tmp_path).put(b"blob")
    (tmp_path / "blobs" / digest.hex()).write_bytes(b"bl")
    assert store(tmp_path).put(b"blob") == digest
    assert store(tmp_path).get(digest) == b"blob"


async def test_the_same_blob_from_several_at_once_is_stored_once_and_each_answer_is_on_disk(tmp_path):
    blobs = BlobFiles(store(tmp_path))
    given = [b"one", b"two", b"one", b"three", b"one", b"two"]
    digests = await asyncio.gather(*(blobs.put(data) for data in given))
    assert [await blobs.get(digest) for digest in digests] == given
    assert len(list((tmp_path / "blobs").iterdir())) == 3


def test_what_a_crash_left_half_written_is_removed(tmp_path):
    store(tmp_path)
    (tmp_path / "blobs/.partial-x").write_bytes(b"half")
    store(tmp_path)
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_disk_that_fails_is_unavailable(tmp_path, monkeypatch):
    blobs = store(tmp_path)
    digest = hashlib.sha256(b"blob").digest()

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(Unavailable, match="No space left"):
        blobs.put(b"blob")
    assert list((tmp_path / "blobs").iterdir()) == []
    (tmp_path / "blobs" / digest.hex()).mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        blobs.get(digest)


def test_a_key_file_is_read_as_it_was_written(tmp_path):
    key = SigningKey.generate()
    write_signing_key(tmp_path / "log.seed", key)
    assert read_signing_key(tmp_path / "log.seed").public == key.public
    with pytest.raises(UsageError, match="cannot be made"):
        write_signing_key(tmp_path / "log.seed", key)


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path):
    path = tmp_path / "log.seed"
    with pytest.raises(UsageError, match="cannot be read"):
        read_signing_key(path)
    write_signing_key(path, SigningKey.generate())
    path.chmod(0o640)
    with pytest.raises(UsageError, match="readable by others"):
        read_signing_key(path)
    path.chmod(0o600)
    path.write_bytes(bytes(33))
    with pytest.raises(UsageError, match="32 bytes"):
        read_signing_key(path)
