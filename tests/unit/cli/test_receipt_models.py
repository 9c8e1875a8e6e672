"""Whose model a receipt names: by the contract that the answer was given under, and the keys that signed its text."""

import msgspec
import pytest

from cloister.cli.receipt_models import contract_of
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.key_bundle import parse_key_bundle
from cloister.ledger.statements import sign_statement
from cloister.testing.world import NOON, World


@pytest.fixture
def world():
    return World()


def shown(world, *entries):
    """The bundle of `world`, showing these entries as its contract's."""
    bundle = world.bundle()
    first = bundle.contracts[0]
    changed = tuple(msgspec.structs.replace(first, entry=entry) for entry in entries)
    return parse_key_bundle(canonical.encode(msgspec.structs.replace(bundle, contracts=changed)))


def test_the_contract_is_the_one_that_the_receipt_names(world):
    entry = world.bundle().contracts[0].entry
    other = msgspec.structs.replace(world.contract, sequence=1, name="another")
    later = sign_statement("contract", other, (world.gateway.sign,))
    bundle = shown(world, entry, later)
    assert contract_of(bundle, world.contract.digest(), at=NOON)[0] == world.contract
    assert contract_of(bundle, other.digest(), at=NOON)[0] == other
    assert contract_of(bundle, bytes(32), at=NOON)[0] == other


def test_an_owner_that_did_not_sign_this_text_is_not_said_to_have(world):
    entry = sign_statement("contract", world.contract, (world.gateway.sign,))
    _, (model,) = contract_of(shown(world, entry), world.contract.digest(), at=NOON)
    assert model.signed_by == ()
    assert model.sentence.endswith("others signed this text of the contract")
    assert model.owner_keys[0] in model.sentence


def test_a_model_without_a_grant_for_the_task_did_not_answer(world):
    alone = msgspec.structs.replace(world.contract, grants=())
    entry = sign_statement("contract", alone, (world.gateway.sign,))
    assert contract_of(shown(world, entry), alone.digest(), at=NOON)[1] == ()


def test_a_model_whose_grant_was_over_did_not_answer(world):
    (grant,) = world.contract.grants
    over = msgspec.structs.replace(world.contract, grants=(msgspec.structs.replace(grant, not_after=NOON),))
    entry = sign_statement("contract", over, (world.gateway.sign,))
    assert contract_of(shown(world, entry), over.digest(), at=NOON)[1] == ()
    assert len(contract_of(shown(world, entry), over.digest(), at=NOON - 1)[1]) == 1


def test_a_bundle_without_a_contract_names_no_model(world):
    with pytest.raises(MalformedInput, match="shows no contract"):
        contract_of(shown(world, world.bundle().epochs[0].entry), bytes(32), at=NOON)
