"""Every step before a recombined root secret is used: each case breaks one link, and no wrong secret comes out."""

import pytest
from tests.doubles.custody_world import CustodyWorld, altered_line

from cloister.contract.recovery import (
    RECOVERY_STEPS,
    RecoveryRefused,
    derives,
    earlier_secrets,
    examine_recovery,
)
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.shares import split
from cloister.formats.custody import Rotation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.secret import SecretBytes
from cloister.testing.world import Node


@pytest.fixture
def world():
    made = CustodyWorld()
    made.log_all(made.root(), made.deposit())
    return made


def examined(world, *entries, key=None, line=None):
    line = line or world.line_after(*entries)
    return examine_recovery(line, world.line, instance=world.kms.sign.public, key=key or world.kms.wrap)


def test_enough_custodians_bring_the_secret_back(world):
    recovered = examined(world, world.recovery("bank"), world.recovery("auditor")).require()
    assert (recovered.generation, recovered.secret) == (1, world.secret_of(1))


def test_more_custodians_than_it_takes_do_no_harm(world):
    given = [world.recovery(name) for name in ("bank", "notary", "auditor")]
    assert examined(world, *given).require().secret == world.secret_of(1)


@pytest.mark.breaks("recovery.root")
def test_a_line_without_shares_is_refused_by_that_check_alone():
    world = CustodyWorld()
    assert examined(world).failed == ["recovery.root"]


@pytest.mark.breaks("recovery.custodians")
def test_one_custodian_too_few_is_refused_by_that_check(world):
    examination = examined(world, world.recovery("bank"), world.recovery("bank"))
    assert examination.failed[0] == "recovery.custodians"
    with pytest.raises(RecoveryRefused, match="1 of 2 custodians gave their share"):
        examination.require()


@pytest.mark.breaks("recovery.shares")
def test_shares_that_were_sealed_to_another_instance_are_refused_by_that_check(world):
    given = (world.recovery("bank"), world.recovery("notary"))
    examination = examined(world, *given, key=KemPrivateKey.generate(X_WING))
    assert examination.failed[0] == "recovery.shares"


def test_a_share_sealed_for_another_custodian_generation_or_instance_does_not_open(world):
    line = world.line_after(world.recovery("bank"), world.recovery("notary"))
    first, second = line.custody.recoveries
    swapped = [type(first)(**{**fields(first), "wrapped": second.wrapped}), second]
    assert examined(world, line=altered_line(line, recoveries=tuple(swapped))).failed[0] == "recovery.shares"


def fields(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


@pytest.mark.breaks("recovery.intake")
def test_shares_of_another_secret_are_refused_by_that_check_alone(world):
    others = split(SecretBytes(b"x" * 32), threshold=2, count=3)
    given = [world.recovery(name, share=share) for name, share in zip(("bank", "notary"), others, strict=False)]
    assert examined(world, *given).failed == ["recovery.intake"]


@pytest.mark.breaks("recovery.intake")
def test_a_share_that_is_none_is_refused_by_that_check_alone(world):
    given = (world.recovery("bank", share=SecretBytes(b"abandon abandon")), world.recovery("notary"))
    assert examined(world, *given).failed == ["recovery.intake"]


def test_one_custodian_that_lies_does_not_hinder_two_that_do_not(world):
    lie, *_ = split(world.secret_of(1), threshold=2, count=3)
    given = (world.recovery("bank", share=lie), world.recovery("notary"), world.recovery("auditor"))
    assert examined(world, *given).require().secret == world.secret_of(1)


def test_what_was_given_to_another_instance_is_not_counted(world):
    other = Node()
    examination = examine_recovery(
        world.line_after(world.recovery("bank"), world.recovery("notary")),
        world.line,
        instance=other.sign.public,
        key=other.wrap,
    )
    assert examination.failed[0] == "recovery.custodians"


def rotated(world):
    record = Rotation(contract=world.line, generation=1, reason="a custodian left")
    return sign_statement("rotation", record, (world.parties.operator,))


def test_from_the_latest_secret_follow_those_before(world):
    line = world.line_after(rotated(world), world.root(2, entry_digest(world.log.entries[5])))
    found = list(earlier_secrets(line, line.custody.roots[-1], world.secret_of(2)))
    assert [(one.generation, one.secret) for one in found] == [(1, world.secret_of(1))]


def test_no_secret_follows_beyond_what_is_retired_or_does_not_derive_its_key(world):
    entries = (rotated(world), world.root(2, entry_digest(world.log.entries[5])))
    line = world.line_after(*entries)
    latest = line.custody.roots[-1]
    assert not list(earlier_secrets(altered_line(line, retired=1), latest, world.secret_of(2)))
    assert not list(earlier_secrets(line, latest, world.secret_of(3)))
    broken = world.line_after(entries[0], world.root(2, entry_digest(world.log.entries[5]), earlier=b""))
    assert not list(earlier_secrets(broken, broken.custody.roots[-1], world.secret_of(2)))


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), bytes(32)])
def test_nothing_but_its_secret_derives_a_root(world, secret):
    assert not derives(SecretBytes(secret), world.line_after().custody.roots[0])


def test_every_step_is_shown_above():
    assert RECOVERY_STEPS == ("recovery.root", "recovery.custodians", "recovery.shares", "recovery.intake")
