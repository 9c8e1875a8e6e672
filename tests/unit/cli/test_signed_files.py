import pytest
from tests.unit.cli.test_local_terms import FIRST, GENESIS

from cloister.cli.local.settings import LocalSettings
from cloister.cli.local.signed_files import read_signed
from cloister.cli.local.system import prepare
from cloister.cli.state_folder import StateFolder
from cloister.errors import UsageError
from cloister.formats.ledger_messages import encode_list

SIGNED = ("constitution.entries", "contract.entries")


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    folder.constitutions.write_bytes(encode_list(FIRST.constitutions))
    folder.contracts.write_bytes(encode_list(FIRST.contracts))
    return folder


def test_what_was_signed_is_read_back_and_an_untouched_folder_has_nothing(state, tmp_path):
    assert read_signed(state) == FIRST
    assert read_signed(StateFolder(tmp_path / "untouched")) is None


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("resting", ["trust-policy.toml", "data/ledger/ledger.sqlite", "client-memory"])
def test_no_second_beginning_is_signed_where_one_of_the_files_is_missing(state, name, resting):
    (state.root / resting).parent.mkdir(exist_ok=True)
    (state.root / resting).write_bytes(b"of before")
    (state.root / name).unlink()
    kept = {path: path.read_bytes() for path in state.root.glob("*.entries")}
    with pytest.raises(UsageError, match=f"{name} is missing.*restore it, or begin anew with another --state folder"):
        prepare(state, LocalSettings(), print, clock=lambda: 0.0)
    assert {path: path.read_bytes() for path in state.root.glob("*.entries")} == kept
    assert not list(state.keys.iterdir())


def test_a_first_start_that_was_killed_between_its_two_files_goes_on_from_its_genesis(state):
    state.contracts.unlink()
    assert read_signed(state) == GENESIS


@pytest.mark.parametrize("name", ["data/ledger/ledger.sqlite", "client-memory"])
def test_a_log_or_a_memory_alone_keeps_a_second_beginning_away(state, name):
    for path in (state.constitutions, state.contracts):
        path.unlink()
    (state.root / name).parent.mkdir(exist_ok=True)
    (state.root / name).write_bytes(b"of before")
    with pytest.raises(UsageError, match=rf"constitution\.entries is missing, and .*{name} rests on it"):
        read_signed(state)


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_flipped_byte_is_refused_by_the_name_of_its_file(state, name, place):
    data = bytearray((state.root / name).read_bytes())
    data[place] ^= 1
    (state.root / name).write_bytes(data)
    with pytest.raises(UsageError, match=f"{name} is .*restore it, or begin anew"):
        read_signed(state)
