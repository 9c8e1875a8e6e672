"""Every step before a recombined root secret is used: each case breaks one link, and no wrong secret comes out."""

import pytest
from tests.doubles.custody_world import CustodyWorld, altered_line

from cloister.contract.recovery import (
    RECOVERY_STEPS,
    SHARE_STEPS,
    RecoveryRefused,
    derives,
    earlier_secrets,
    examine_recovery,
    examine_share,
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
    return examine_recovery(line, instance=world.kms.sign.public, key=key or world.kms.wrap)


def judged(world, entry, key=None):
    line = world.line_after(entry)
    (given,) = line.custody.recoveries
    return examine_share(line.custody.roots[-1].root, given, key or world.kms.wrap)


def share_of_another_split(world):
    """A true share of the very same secret, but of no split that the log knows of."""
    return split(world.secret_of(1), threshold=world.threshold, count=len(world.custodians))[0]


def test_enough_custodians_bring_the_secret_back(world):
    recovered = examined(world, world.recovery("bank"), world.recovery("auditor")).require()
    assert (recovered.generation, recovered.secret) == (1, world.secret_of(1))


def test_more_custodians_than_it_takes_do_no_harm(world):
    given = [world.recovery(name) for name in ("bank", "notary", "auditor")]
    assert examined(world, *given).require().secret == world.secret_of(1)


def test_a_share_that_was_made_for_its_custodian_is_known_as_that(world):
    given = judged(world, world.recovery("notary")).require()
    assert (given.custodian, given.share) == ("notary", world.share("notary"))


@pytest.mark.breaks("recovery.seal")
def test_a_share_that_was_sealed_to_another_instance_is_refused_by_that_check_alone(world):
    examination = judged(world, world.recovery("bank"), key=KemPrivateKey.generate(X_WING))
    assert examination.failed == ["recovery.seal"]
    with pytest.raises(RecoveryRefused, match="what bank gave does not open with this instance's key"):
        examination.require()


@pytest.mark.breaks("recovery.commitment")
@pytest.mark.parametrize(
    "share",
    [
        lambda world: SecretBytes(b"abandon abandon"),
        lambda world: SecretBytes(b""),
        lambda world: SecretBytes(world.share("bank").reveal() + b" "),
        lambda world: world.share("notary"),
        share_of_another_split,
    ],
    ids=["no share", "nothing", "one byte more", "another custodian's", "of another split"],
)
def test_a_wrong_share_is_refused_by_itself_and_its_custodian_named(world, share):
    examination = judged(world, world.recovery("bank", share=share(world)))
    assert examination.failed == ["recovery.commitment"]
    with pytest.raises(RecoveryRefused, match="what bank gave is not its share of root 1"):
        examination.require()


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
def test_one_right_share_too_few_is_refused_by_that_check_alone(world):
    given = (world.recovery("bank", share=share_of_another_split(world)), world.recovery("notary"))
    examination = examined(world, *given)
    assert examination.failed == ["recovery.shares"]
    with pytest.raises(RecoveryRefused, match="1 of 2 gave what is not their share"):
        examination.require()


def test_a_share_sealed_for_another_custodian_generation_or_instance_does_not_open(world):
    line = world.line_after(world.recovery("bank"), world.recovery("notary"))
    first, second = line.custody.recoveries
    swapped = [type(first)(**{**fields(first), "wrapped": second.wrapped}), second]
    assert examined(world, line=altered_line(line, recoveries=tuple(swapped))).failed == ["recovery.shares"]


def fields(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


@pytest.mark.breaks("recovery.intake")
def test_shares_of_another_secret_than_the_intake_keys_are_refused_by_that_check_alone():
    """A KMS that was broken shared, and committed to, another secret than that of the intake key."""
    world = CustodyWorld()
    world.log_all(world.root(shared=SecretBytes(b"x" * 32)))
    assert examined(world, world.recovery("bank"), world.recovery("notary")).failed == ["recovery.intake"]


def test_custodians_that_lie_hinder_no_others_however_many_there_are():
    """Seven lie before the first of six that do not: a search through sets of six would have 1,716 to try."""
    names = tuple(f"custodian {number}" for number in range(13))
    world = CustodyWorld(custodians=names, threshold=6)
    world.log_all(world.root(), world.deposit())
    lie = share_of_another_split(world)
    given = [world.recovery(name, share=lie if at < 7 else None) for at, name in enumerate(names)]
    examination = examined(world, *given)
    assert examination.require().secret == world.secret_of(1)


def test_what_was_given_to_another_instance_is_not_counted(world):
    other = Node()
    line = world.line_after(world.recovery("bank"), world.recovery("notary"))
    assert examine_recovery(line, instance=other.sign.public, key=other.wrap).failed[0] == "recovery.custodians"


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
    assert SHARE_STEPS == ("recovery.seal", "recovery.commitment")
    assert RECOVERY_STEPS == ("recovery.root", "recovery.custodians", "recovery.shares", "recovery.intake")
