import stat

import msgspec
import pytest

from cloister.client.memory_file import MemoryFile, MemoryRefused
from cloister.formats import canonical
from cloister.trust.memory import Memory, first_contact

GENESIS = bytes(32)
MEMORY = Memory(
    genesis=GENESIS,
    size=7,
    root=b"r" * 32,
    epoch=2,
    cosigned_at=1_800_000_000,
    constitution=b"k" * 32,
    contract=b"c" * 32,
)


@pytest.fixture
def file(tmp_path):
    return MemoryFile(tmp_path / "state" / "client-memory", genesis=GENESIS)


def test_a_missing_file_is_first_contact(file):
    with file.locked() as memory:
        assert memory == first_contact(GENESIS)


def test_what_was_stored_is_remembered(file):
    with file.locked():
        file.store(MEMORY)
    with file.locked() as memory:
        assert memory == MEMORY


def test_the_file_is_its_owners_alone_and_no_partial_one_stays(file):
    with file.locked():
        file.store(MEMORY)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["client-memory", "client-memory.lock"]


@pytest.mark.parametrize("damage", [b"", b"\x00", canonical.encode(MEMORY)[:-1], canonical.encode(MEMORY) + b"\x00"])
def test_a_damaged_memory_is_refused_by_name_with_what_to_do(file, damage):
    with file.locked():
        file.store(MEMORY)
    file.path.write_bytes(damage)
    with (
        pytest.raises(MemoryRefused, match=r"client-memory is damaged .* Restore the file; or") as caught,
        file.locked(),
    ):
        pass
    assert caught.value.exit_code == 3


def test_the_memory_of_another_kms_is_refused(file):
    with file.locked():
        file.store(msgspec.structs.replace(MEMORY, genesis=b"o" * 32))
    with pytest.raises(MemoryRefused, match="is of the KMS 6f6f"), file.locked():
        pass


def test_a_memory_that_cannot_be_read_is_refused(file):
    file.path.mkdir(parents=True)
    with pytest.raises(MemoryRefused, match="cannot be read"), file.locked():
        pass


def test_a_memory_that_cannot_be_written_is_refused(file):
    with file.locked():
        file.path.mkdir()
        with pytest.raises(MemoryRefused, match="cannot be written"):
            file.store(MEMORY)
