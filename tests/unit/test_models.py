"""Models that owners register: what counts, who may take it back, and what an audit says of it."""

from dataclasses import replace

import msgspec
import pytest

from cloister.contract.audit.auditor import audit
from cloister.contract.fold import advance, begin, fold
from cloister.crypto.signing import SigningKey
from cloister.formats.model_registration import ModelRegistration
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import World

MODEL, SIGNATURE = b"m" * 32, b"s" * 32


@pytest.fixture
def world():
    return World()


def folded(world):
    entries = world.log.entries
    return fold(begin(entries[0], genesis=world.constitution.digest()), entries[1:])


def registration(world, **changes):
    given = {"contract": world.contract.digest(), "name": "llama", "model": MODEL, "signature": SIGNATURE}
    return ModelRegistration(**given | changes)


def registered(world, *, by=None, **changes):
    return sign_statement("model", registration(world, **changes), by or (world.parties.owner,))


def models(state, world):
    return {digest: owner for owner, digest in state.lines[world.contract.digest()].models}


def owner(world):
    (party,) = world.contract.with_duty("model-owner")
    return party.name


@pytest.mark.parametrize("signature", [b"", SIGNATURE])
def test_an_owner_registers_its_model(world, signature):
    state = advance(folded(world), registered(world, signature=signature))
    assert state.reason == ""
    assert models(state, world) == {MODEL: owner(world)}


def test_several_models_are_registered_beside_each_other(world):
    state = fold(folded(world), [registered(world), registered(world, model=b"n" * 32)])
    assert set(models(state, world)) == {MODEL, b"n" * 32}


def test_a_model_is_registered_once(world):
    first = registered(world)
    state = advance(folded(world), first)
    for again in (first, registered(world, name="another name")):
        after = advance(state, again)
        assert (after.broken, after.lines) == ("model.once", state.lines)


@pytest.mark.parametrize(
    "by",
    [
        lambda world: (world.parties.operator,),
        lambda world: (world.parties.owner, world.parties.operator),
        lambda world: (world.kms.sign,),
        lambda _world: (SigningKey.generate(),),
    ],
    ids=["operator", "owner and operator", "kms", "stranger"],
)
def test_nobody_but_an_owner_alone_registers_a_model(world, by):
    state = advance(folded(world), registered(world, by=by(world)))
    assert (state.broken, models(state, world)) == ("model.owner", {})


@pytest.fixture
def rival():
    return SigningKey.generate()


def with_rival(world, rival):
    """The state in which another model owner is a party too."""
    state, digest = folded(world), world.contract.digest()
    line = state.lines[digest]
    (own,) = world.contract.with_duty("model-owner")
    parties = (*world.contract.parties, msgspec.structs.replace(own, name="rival", keys=(rival.public,)))
    current = msgspec.structs.replace(world.contract, parties=parties)
    governed = replace(line.governed, current=current)
    return replace(state, lines=state.lines.put(digest, replace(line, governed=governed)))


def test_a_model_of_the_contracts_is_registered_by_its_owner_alone(world, rival):
    (asset,) = world.contract.assets
    state = advance(with_rival(world, rival), registered(world, by=(rival,), model=asset.digest))
    assert (state.broken, models(state, world)) == ("model.owner", {})
    assert models(advance(state, registered(world, model=asset.digest)), world) == {asset.digest: asset.owner}


def test_whoever_registers_a_model_first_keeps_nobody_from_it(world, rival):
    first, second = registered(world, by=(rival,)), registered(world)
    state = fold(with_rival(world, rival), [first, second])
    assert state.reason == ""
    registered_by = set(state.lines[world.contract.digest()].models)
    assert registered_by == {("rival", MODEL), (owner(world), MODEL)}
    after = advance(state, taken_back(world, first, by=rival))
    assert set(after.lines[world.contract.digest()].models) == {(owner(world), MODEL)}


def test_a_model_is_registered_under_a_contract_in_the_log(world):
    state = advance(folded(world), registered(world, contract=bytes(32)))
    assert state.broken == "contract.succession"


@pytest.mark.parametrize("signature", [b"s", b"s" * 31])
def test_half_a_digest_is_no_registration(world, signature):
    cut = msgspec.convert({"contract": MODEL, "target": MODEL, "reason": "x"}, Revocation)
    assert advance(folded(world), sign_statement("model", cut, (world.parties.owner,))).void == 1
    with pytest.raises(ValueError, match="32 bytes"):
        registration(world, signature=signature)


def taken_back(world, entry, *, by):
    record = Revocation(contract=world.contract.digest(), target=entry_digest(entry), reason="leaked")
    return sign_statement("revocation", record, (by,))


def test_its_owner_takes_it_back_and_may_register_it_again(world):
    entry = registered(world)
    state = fold(folded(world), [entry, taken_back(world, entry, by=world.parties.owner)])
    assert (state.reason, models(state, world)) == ("", {})
    assert set(models(advance(state, registered(world, name="again")), world)) == {MODEL}


def test_no_other_party_takes_it_back(world):
    entry = registered(world)
    state = fold(folded(world), [entry, taken_back(world, entry, by=world.parties.operator)])
    assert (state.broken, set(models(state, world))) == ("revocation.owner", {MODEL})


def test_an_audit_tells_of_each_and_of_what_is_void(world):
    good, void = registered(world), registered(world, by=(world.parties.operator,))
    entries = [*world.log.entries, good, void]
    told = audit(entries, {}, [], genesis=world.constitution.digest()).entries[-2:]
    assert [(one.kind, one.counts, one.broken) for one in told] == [
        ("model", True, ""),
        ("model", False, "model.owner"),
    ]
    assert "“llama”" in told[0].says
    assert MODEL.hex()[:12] in told[0].says
