import contextlib
import resource
import signal

import pytest

from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.storage.key_file import read_signing_key, write_signing_key


@contextlib.contextmanager
def no_room():
    """Files of this process end after ten bytes; a file that pytest reports to, too."""
    own = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, own[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, own)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_key_that_has_no_room_leaves_no_part_of_it_behind(tmp_path):
    with no_room(), pytest.raises(UsageError, match=r"a\.seed cannot be made: File too large"):
        write_signing_key(tmp_path / "a.seed", SigningKey.generate())
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_there_is_never_replaced(tmp_path):
    path, key = tmp_path / "a.seed", SigningKey.generate()
    write_signing_key(path, key)
    with pytest.raises(UsageError, match=r"a\.seed cannot be made: File exists"):
        write_signing_key(path, SigningKey.generate())
    assert read_signing_key(path).public == key.public
    assert [one.name for one in tmp_path.iterdir()] == ["a.seed"]
