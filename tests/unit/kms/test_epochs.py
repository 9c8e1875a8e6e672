"""Which epoch is in use, for everyone alike; when the next is due; which keys are kept, and which are given up."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest

from cloister.contract.epochs import active_epoch, gone_from, living_epochs, shown_epochs, stale_from
from cloister.contract.governed import Governed
from cloister.contract.placed import Placed
from cloister.contract.state import ContractLine, EpochRecord
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.formats import key_config
from cloister.services.kms.epochs import FIRST_WAIT, LONGEST_WAIT, EpochKeys, LostKeys, Window, due_window, next_epoch
from cloister.services.kms.security import KmsSecurity
from cloister.testing.world import DAY, NOON, World

SECURITY = KmsSecurity(epoch_seconds=1000, pending_seconds=100, stale_seconds=50)
PUBLIC = KemPrivateKey.generate(X_WING).public
CONTRACT = World().make_contract(not_before=NOON, not_after=NOON + DAY)


def with_epoch(line: ContractLine, window: Window) -> ContractLine:
    """The line with one more epoch in its log."""
    epoch = next_epoch(line, window, PUBLIC, kem=X_WING)
    entry = f"epoch {epoch.number}".encode()
    placed = Placed(epoch.number, entry, hashlib.sha256(entry).digest())
    return replace(line, epochs=(*line.epochs, EpochRecord(placed, epoch, bytes(32))))


def line_of(*windows: Window) -> ContractLine:
    line = ContractLine(Governed((), CONTRACT, CONTRACT.digest(), 0))
    for window in windows:
        line = with_epoch(line, window)
    return line


def revoked(line: ContractLine, number: int) -> ContractLine:
    return replace(line, revoked=line.revoked | {line.epochs[number - 1].placed.digest})


def numbers(records) -> list[int]:
    return [record.epoch.number for record in records]


def active(line: ContractLine, at: int) -> int | None:
    record = active_epoch(line, at=at)
    return None if record is None else record.epoch.number


def due(line: ContractLine, *, at: int, lost=()) -> Window | None:
    digests = {line.epochs[number - 1].placed.digest for number in lost}
    return due_window(line, SECURITY, at=at, witnessed=at, lost=digests)


FIRST = Window(NOON, NOON + 1000, NOON + 1050)
SECOND = Window(NOON + 1000, NOON + 2000, NOON + 2050)
AT_ONCE = Window(NOON + 300, NOON + 1300, NOON + 1350)


@pytest.mark.parametrize(
    ("at", "number"),
    [(NOON - 1, None), (NOON, 1), (NOON + 999, 1), (NOON + 1000, 2), (NOON + 1999, 2), (NOON + 2000, None)],
)
def test_the_epoch_in_use_is_the_one_whose_window_it_is(at, number):
    assert active(line_of(FIRST, SECOND), at) == number


def test_a_later_epoch_that_begins_early_replaces_the_one_in_use_and_that_does_not_come_back():
    line = line_of(FIRST, AT_ONCE)
    assert [active(line, at) for at in (NOON + 299, NOON + 300, NOON + 999, NOON + 1299)] == [1, 2, 2, 2]
    assert stale_from(line, line.epochs[0]) == NOON + 300
    assert gone_from(line, line.epochs[0]) == NOON + 350
    assert active(revoked(line, 2), NOON + 400) is None


def test_a_later_epoch_counts_before_one_that_begins_later_still():
    """The pending epoch's key was lost: one is made at once, and takes the place of both."""
    line = line_of(FIRST, SECOND, AT_ONCE)
    assert [active(line, at) for at in (NOON + 299, NOON + 300, NOON + 1000, NOON + 1200)] == [1, 3, 3, 3]


def test_a_window_far_in_the_future_keeps_no_other_epoch_from_being_made():
    line = line_of(FIRST, Window(NOON + DAY - 10, NOON + DAY, NOON + DAY))
    assert due(line, at=NOON + 900) == SECOND
    assert active(with_epoch(line, SECOND), NOON + 1500) == 3


def test_a_successor_of_the_contract_leaves_no_epoch_in_use():
    successor = World().make_contract(not_before=NOON, sequence=1)
    line = replace(line_of(FIRST), governed=Governed((), successor, successor.digest(), 9))
    assert active(line, NOON) is None
    assert living_epochs(line, at=NOON) == ()
    assert due(line, at=NOON) == FIRST


def test_the_first_epoch_is_due_at_once():
    assert due(line_of(), at=NOON) == FIRST


def test_the_next_is_due_when_its_pending_time_begins_and_joins_the_last_without_a_gap():
    assert due(line_of(FIRST), at=NOON + 899) is None
    assert due(line_of(FIRST), at=NOON + 900) == SECOND
    assert due(line_of(FIRST, SECOND), at=NOON + 999) is None


def test_an_epoch_begins_at_the_time_that_witnesses_stated_not_at_the_hosts():
    assert due_window(line_of(), SECURITY, at=NOON + 500, witnessed=NOON + 20) == Window(
        NOON + 20, NOON + 1020, NOON + 1070
    )


def test_an_instance_that_slept_past_the_end_begins_now():
    assert due(line_of(FIRST), at=NOON + 5000) == Window(NOON + 5000, NOON + 6000, NOON + 6050)


def test_no_epoch_is_made_before_or_after_the_contract_and_none_outlasts_it():
    assert due(line_of(), at=NOON - 1) is None
    assert due(line_of(), at=NOON + DAY) is None
    end = NOON + DAY
    assert due(line_of(), at=end - 10) == Window(end - 10, end, end + 50)
    assert due(line_of(Window(end - 500, end, end + 50)), at=end - 10) is None


def test_another_is_due_at_once_for_a_revoked_epoch_and_for_one_whose_key_is_lost():
    at_once = Window(NOON + 10, NOON + 1010, NOON + 1060)
    assert due(revoked(line_of(FIRST), 1), at=NOON + 10) == at_once
    assert due(line_of(FIRST), at=NOON + 10, lost=[1]) == at_once


def test_another_is_due_in_the_place_of_a_pending_epoch_whose_key_is_lost():
    line = line_of(FIRST, SECOND)
    assert due(line, at=NOON + 950, lost=[2]) == SECOND
    assert active(with_epoch(line, SECOND), NOON + 1000) == 3


def test_a_stale_epoch_lives_until_its_stale_window_ends():
    line = line_of(FIRST, SECOND)
    assert numbers(living_epochs(line, at=NOON + 1049)) == [1, 2]
    assert numbers(living_epochs(line, at=NOON + 1050)) == [2]


def test_a_bundle_shows_every_epoch_from_the_first_living_one_on_so_that_each_names_the_one_before():
    line = line_of(FIRST, SECOND, AT_ONCE)
    assert numbers(shown_epochs(line, at=NOON + 320)) == [1, 2, 3]
    assert numbers(shown_epochs(revoked(line, 2), at=NOON + 320)) == [1, 2, 3]
    assert numbers(shown_epochs(revoked(line, 1), at=NOON + 320)) == [2, 3]
    assert shown_epochs(line, at=NOON + DAY) == ()


def test_epochs_are_chained_and_their_key_ids_go_round():
    line = line_of(FIRST, SECOND)
    assert line.epochs[0].epoch.previous == b""
    assert line.epochs[1].epoch.previous == line.epochs[0].placed.digest
    last = replace(line.epochs[1], epoch=msgspec.structs.replace(line.epochs[1].epoch, number=255))
    following = next_epoch(replace(line, epochs=(last,)), SECOND, PUBLIC, kem=X_WING)
    assert following.number == 256
    assert key_config.decode(following.key_config).key_id == 0


def test_keys_that_are_not_alive_are_erased():
    keys = EpochKeys()
    for name in (b"a", b"b", b"c"):
        keys.hold(name, KemPrivateKey.generate(X_WING))
    assert keys.erase_all_but({b"b"}) == 2
    assert keys.get(b"a") is None
    assert keys.get(b"b") is not None
    assert keys.held() == {b"b"}
    keys.erase_all()
    assert len(keys) == 0


def test_the_key_of_an_epoch_on_its_way_into_the_log_is_kept_until_the_log_has_it_or_has_another():
    line, other = line_of(FIRST), line_of(FIRST, SECOND)
    for fate in (other, line):
        keys, key = EpochKeys(), KemPrivateKey.generate(X_WING)
        epoch = next_epoch(line, SECOND, key.public, kem=X_WING)
        mine = other.epochs[1].placed.digest if fate is other else b"not in the log"
        keys.expect(mine, key, epoch)
        keys.settle([line], at=NOON + 950)
        assert len(keys) == 0
        keys.settle([fate if fate is other else other], at=NOON + 950)
        assert keys.get(mine) is (key if fate is other else None)
        keys.settle([line], at=NOON + 5000)
        assert len(keys) == 0


def test_a_key_that_was_there_before_this_instance_is_lost_once_nobody_gave_it():
    line, lost = line_of(FIRST), LostKeys()
    lost.came(2)
    assert lost.among(line, at=NOON) == frozenset()
    lost.asked_in_vain(line.epochs, at=NOON)
    assert lost.among(line, at=NOON) == {line.epochs[0].placed.digest}


def test_a_key_that_another_instance_made_since_is_waited_for_longer_each_time_until_one_is_given():
    line, lost = line_of(FIRST), LostKeys()
    lost.came(1)
    digests = {line.epochs[0].placed.digest}
    wait = FIRST_WAIT
    while wait < LONGEST_WAIT:
        lost.asked_in_vain(line.epochs, at=NOON)
        assert lost.among(line, at=NOON + wait - 1) == frozenset()
        assert lost.among(line, at=NOON + wait) == digests
        lost.replaced(line, digests)
        wait *= 2
    assert lost.among(line, at=NOON + LONGEST_WAIT) == digests
    lost.given()
    assert lost.among(line, at=NOON + LONGEST_WAIT) == frozenset()
    lost.asked_in_vain(line.epochs, at=NOON)
    assert lost.among(line, at=NOON + FIRST_WAIT) == digests


@pytest.mark.parametrize("changes", [{"pending_seconds": 1000}, {"stale_seconds": 1001}])
def test_windows_that_would_pile_up_are_refused(changes):
    with pytest.raises(ValueError, match="epoch_seconds"):
        KmsSecurity(**({"epoch_seconds": 1000, "pending_seconds": 100, "stale_seconds": 50} | changes))
