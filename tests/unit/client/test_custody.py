"""A custodian on its own machine: it opens its share, sees that it is the one in the log, and passes it on sealed."""

from dataclasses import replace as altered

import msgspec
import pytest
from tests.doubles.custody_world import CustodyWorld

from cloister.client.custody import NoShare, pass_share_on
from cloister.contract.recovery import examine_recovery
from cloister.crypto.hpke import X_WING, KemPrivateKey


@pytest.fixture
def world():
    made = CustodyWorld()
    made.log_all(made.root(), made.deposit())
    return made


def passed_on(world, name, record, seal=None):
    return pass_share_on(record, name, seal or world.seals[name], world.kms.keys, world.custodians[name])


def with_shares(record, change):
    shares = tuple(change(share) for share in record.root.shares)
    return altered(record, root=msgspec.structs.replace(record.root, shares=shares))


def test_what_custodians_pass_on_brings_the_secret_back(world):
    latest = world.line_after().custody.latest
    line = world.line_after(*(passed_on(world, name, latest) for name in ("bank", "auditor")))
    recovered = examine_recovery(line, instance=world.kms.sign.public, key=world.kms.wrap).require()
    assert recovered.secret == world.secret_of(1)


def test_a_share_other_than_the_log_commits_to_is_not_passed_on(world):
    """The custodian would be blamed for it; the KMS that made the root so is named instead."""
    latest = world.line_after().custody.latest
    broken = with_shares(latest, lambda share: msgspec.structs.replace(share, commitment=bytes(32)))
    with pytest.raises(NoShare, match=r"share\.made: the KMS sealed bank another share of root 1 than it logged"):
        passed_on(world, "bank", broken)


def test_another_key_opens_no_share(world):
    with pytest.raises(NoShare, match=r"share\.open"):
        passed_on(world, "bank", world.line_after().custody.latest, seal=KemPrivateKey.generate(X_WING))


def test_who_is_no_custodian_of_the_root_has_no_share(world):
    nobody = with_shares(world.line_after().custody.latest, lambda share: msgspec.structs.replace(share, custodian="x"))
    with pytest.raises(NoShare, match=r"share\.custodian"):
        passed_on(world, "bank", nobody)
