"""When an epoch is due, which one clients are shown, and what a bundle leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest

from cloister.contract.governed import Governed
from cloister.contract.placed import Placed
from cloister.contract.state import ContractLine, EpochRecord
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.formats import key_config
from cloister.services.kms.bundle import shown_epochs
from cloister.services.kms.epochs import EpochKeys, Window, active_epoch, due_window, next_epoch, own_epochs
from cloister.services.kms.security import KmsSecurity
from cloister.testing.world import DAY, NOON, World

SECURITY = KmsSecurity(epoch_seconds=1000, pending_seconds=100, stale_seconds=50)
PUBLIC = KemPrivateKey.generate(X_WING).public
CONTRACT = World().make_contract(not_before=NOON, not_after=NOON + DAY)
OURS, OTHERS = b"our instance", b"another instance"


def with_epoch(line: ContractLine, window: Window, *, instance: bytes = OURS) -> ContractLine:
    """The line with one more epoch in its log."""
    epoch = next_epoch(line, window, PUBLIC, kem=X_WING)
    entry = f"epoch {epoch.number}".encode()
    placed = Placed(epoch.number, entry, hashlib.sha256(entry).digest())
    return replace(line, epochs=(*line.epochs, EpochRecord(placed, epoch, instance)))


def line_of(*windows: Window) -> ContractLine:
    line = ContractLine(Governed((), CONTRACT, CONTRACT.digest(), 0))
    for window in windows:
        line = with_epoch(line, window)
    return line


def own(line: ContractLine, *, at: int) -> list[EpochRecord]:
    held = {record.placed.digest for record in line.epochs if record.instance == OURS}
    return own_epochs(line, held, at=at)


def due(line: ContractLine, *, at: int) -> Window | None:
    return due_window(line, own(line, at=at), SECURITY, at=at)


FIRST = Window(NOON, NOON + 1000, NOON + 1050)
SECOND = Window(NOON + 1000, NOON + 2000, NOON + 2050)


def test_the_first_epoch_is_due_at_once():
    assert due(line_of(), at=NOON) == FIRST


def test_the_next_is_due_when_its_pending_time_begins_and_joins_the_last_without_a_gap():
    assert due(line_of(FIRST), at=NOON + 899) is None
    assert due(line_of(FIRST), at=NOON + 900) == SECOND
    assert due(line_of(FIRST, SECOND), at=NOON + 999) is None


def test_an_instance_that_slept_past_the_end_begins_now():
    assert due(line_of(FIRST), at=NOON + 5000) == Window(NOON + 5000, NOON + 6000, NOON + 6050)


def test_no_epoch_is_made_before_or_after_the_contract_and_none_outlasts_it():
    assert due(line_of(), at=NOON - 1) is None
    assert due(line_of(), at=NOON + DAY) is None
    end = NOON + DAY
    assert due(line_of(), at=end - 10) == Window(end - 10, end, end + 50)
    assert due(line_of(Window(end - 500, end, end + 50)), at=end - 10) is None


def test_a_revoked_epoch_is_no_longer_ours_and_another_is_due():
    line = line_of(FIRST)
    revoked = replace(line, revoked=frozenset({line.epochs[0].placed.digest}))
    assert own(revoked, at=NOON) == []
    assert due(revoked, at=NOON + 10) == Window(NOON + 10, NOON + 1010, NOON + 1060)


def test_an_epoch_whose_key_is_not_held_here_is_not_ours():
    line = with_epoch(line_of(), FIRST, instance=OTHERS)
    assert own(line, at=NOON) == []
    assert due(line, at=NOON) == FIRST


def test_a_successor_of_the_contract_leaves_no_epoch_ours():
    successor = World().make_contract(not_before=NOON, sequence=1)
    line = replace(line_of(FIRST), governed=Governed((), successor, successor.digest(), 9))
    assert own(line, at=NOON) == []


@pytest.mark.parametrize(("at", "number"), [(NOON, 1), (NOON + 999, 1), (NOON + 1000, 2), (NOON + 1999, 2)])
def test_the_active_epoch_is_the_one_whose_window_it_is(at, number):
    line = line_of(FIRST, SECOND)
    active = active_epoch(own(line, at=at), at=at)
    assert active is not None
    assert active.epoch.number == number


def test_there_is_no_active_epoch_past_the_last_window():
    assert active_epoch(own(line_of(FIRST), at=NOON + 1000), at=NOON + 1000) is None


def test_a_stale_epoch_stays_until_its_stale_window_ends():
    line = line_of(FIRST, SECOND)
    assert [record.epoch.number for record in own(line, at=NOON + 1049)] == [1, 2]
    assert [record.epoch.number for record in own(line, at=NOON + 1050)] == [2]


def test_epochs_are_chained_and_their_key_ids_go_round():
    line = line_of(FIRST, SECOND)
    assert line.epochs[0].epoch.previous == b""
    assert line.epochs[1].epoch.previous == line.epochs[0].placed.digest
    last = replace(line.epochs[1], epoch=msgspec.structs.replace(line.epochs[1].epoch, number=255))
    following = next_epoch(replace(line, epochs=(last,)), SECOND, PUBLIC, kem=X_WING)
    assert following.number == 256
    assert key_config.decode(following.key_config).key_id == 0


def test_a_bundle_shows_no_gap_where_another_instance_made_an_epoch_between_two_of_ours():
    line = with_epoch(line_of(FIRST), FIRST, instance=OTHERS)
    line = with_epoch(line, SECOND)
    at_first, at_second = own(line, at=NOON), own(line, at=NOON + 1000)
    assert [record.epoch.number for record in at_first] == [1, 3]
    assert [record.epoch.number for record in shown_epochs(at_first, at_first[0])] == [1]
    assert [record.epoch.number for record in shown_epochs(at_second, at_second[-1])] == [3]


def test_keys_that_are_not_alive_are_erased():
    keys = EpochKeys()
    for name in (b"a", b"b", b"c"):
        keys.hold(name, KemPrivateKey.generate(X_WING))
    assert keys.erase_all_but({b"b"}) == 2
    assert keys.get(b"a") is None
    assert keys.get(b"b") is not None
    assert len(keys) == 1
    assert b"c" not in keys


@pytest.mark.parametrize("changes", [{"pending_seconds": 1000}, {"stale_seconds": 1001}])
def test_windows_that_would_pile_up_are_refused(changes):
    with pytest.raises(ValueError, match="epoch_seconds"):
        KmsSecurity(**({"epoch_seconds": 1000, "pending_seconds": 100, "stale_seconds": 50} | changes))
