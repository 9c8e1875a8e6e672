"""Files of signed entries, as services are given them."""

from __future__ import annotations

import pytest

from cloister.errors import UsageError
from cloister.formats.ledger_messages import encode_list
from cloister.node.entries_file import read_entries
from cloister.testing.world import World


def test_entries_come_back_in_their_order(tmp_path):
    path = tmp_path / "contract.entries"
    path.write_bytes(encode_list([b"first", b"second"]))
    assert read_entries(path) == (b"first", b"second")


@pytest.mark.parametrize(("content", "why"), [(b"", "no list"), (b"\x80", "holds no entry"), (b"\x81\x01", "no list")])
def test_a_file_that_is_none_is_named(tmp_path, content, why):
    path = tmp_path / "contract.entries"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=why) as refused:
        read_entries(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_entries(tmp_path / "nothing")


def test_one_signed_entry_is_taken_as_a_list_of_it(tmp_path):
    entry = World().log.entries[0]
    (tmp_path / "contract.signed").write_bytes(entry)
    assert read_entries(tmp_path / "contract.signed") == (entry,)
    (tmp_path / "contract.signed").write_bytes(entry[:-1])
    with pytest.raises(UsageError, match="is no list of signed entries"):
        read_entries(tmp_path / "contract.signed")
