"""Authorities and identities in the fold: what counts, and every rule broken alone."""

from dataclasses import replace as altered

import pytest
from tests.doubles.identity_world import HOUR, IdentityWorld, serial

from cloister.contract.fold import advance
from cloister.contract.identities import KEPT_IDENTITIES
from cloister.contract.identity_certificate import AUTHORITY_LIFE, Window, make_authority
from cloister.contract.identity_key import sign_identity_key
from cloister.crypto.p256 import P256Key
from cloister.formats.custody import Rotation
from cloister.formats.identity import LONGEST_LIFE
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, NOON, Node


@pytest.fixture
def world():
    return IdentityWorld()


def test_an_authority_and_what_it_issues_take_effect(world):
    line = world.line_after(world.identity())
    assert [one.authority.generation for one in line.identities.authorities] == [1]
    assert [one.identity.name for one in line.identities.issued] == [str(world.name())]


def certificate(world, **changes):
    parts = {"line": world.line, "generation": 1, "window": Window(NOON - 60, NOON + DAY), "serial": serial(2)}
    return make_authority(world.key(), **(parts | changes))


def without_authority(world):
    world.log.entries.pop()
    return world


AUTHORITIES = [
    ("kms.signature", lambda world: world.authority(node=Node())),
    ("contract.succession", lambda world: world.authority(contract=bytes(32))),
    ("authority.root", lambda world: world.authority(root=bytes(32))),
    ("authority.root", lambda world: world.authority(generation=2)),
    ("authority.certificate", lambda world: world.authority(certificate=b"no certificate")),
    ("authority.certificate", lambda world: world.authority(certificate=certificate(world, line=bytes(32)))),
    ("authority.certificate", lambda world: world.authority(certificate=certificate(world, generation=2))),
    (
        "authority.certificate",
        lambda world: world.authority(certificate=certificate(world, window=Window(NOON - 60, NOON + AUTHORITY_LIFE))),
    ),
    ("authority.certificate", lambda world: world.authority(certificate=IdentityWorld().leaf())),
    (
        "authority.validity",
        lambda world: world.authority(certificate=certificate(world, window=Window(NOON + 5, NOON + DAY))),
    ),
    ("authority.validity", lambda world: world.authority(at=NOON - 2 * DAY)),
]


@pytest.mark.parametrize(("reason", "make"), AUTHORITIES, ids=[f"{at}-{one[0]}" for at, one in enumerate(AUTHORITIES)])
def test_an_authority_that_its_rules_do_not_allow_has_no_effect(world, reason, make):
    without_authority(world)
    before = world.state()
    after = advance(before, make(world))
    assert after.broken == reason
    assert after.lines == before.lines


def test_a_generation_has_one_certificate_for_good(world):
    again = world.authority(certificate=certificate(world))
    assert world.state(again).broken == "authority.once"


def other_key(world):
    signed, _ = sign_identity_key(world.service.sign, world.tls, line=world.line, challenge=bytes(32))
    return world.identity(key=signed, proof=P256Key.generate().sign(signed))


def for_another_line(world):
    signed, proof = sign_identity_key(world.service.sign, world.tls, line=bytes(32), challenge=bytes(32))
    return world.identity(key=signed, proof=proof)


def by_another_node(world):
    signed, proof = sign_identity_key(Node().sign, world.tls, line=world.line, challenge=bytes(32))
    return world.identity(key=signed, proof=proof)


def revoked(world):
    entry = world.identity()
    world.log.append(entry)
    record = Revocation(contract=world.line, target=entry_digest(entry), reason="lost")
    world.log.append(sign_statement("revocation", record, (world.parties.owner,)))
    return world.identity(serial=serial(2))


IDENTITIES = [
    ("kms.signature", lambda world: world.identity(by=Node())),
    ("contract.succession", lambda world: world.identity(contract=bytes(32))),
    ("release.node", revoked),
    ("identity.role", lambda world: world.identity(role="kms")),
    ("identity.name", lambda world: world.identity(name=str(altered(world.name(), contract=1)))),
    ("identity.name", lambda world: world.identity(name=str(world.name(node=Node())))),
    ("identity.key", other_key),
    ("identity.key", for_another_line),
    ("identity.key", by_another_node),
    ("identity.key", lambda world: world.identity(key=b"nothing")),
    ("identity.authority", lambda world: world.identity(authorities=(bytes(32),))),
    ("identity.authority", lambda world: world.identity(authorities=(entry_digest(world.authority_entry),) * 2)),
    ("identity.validity", lambda world: world.identity(not_after=NOON + DAY + 1)),
    ("identity.validity", lambda world: world.identity(not_before=NOON + 1)),
    ("identity.validity", lambda world: world.identity(not_after=NOON)),
    ("identity.validity", lambda world: world.identity(not_before=NOON - LONGEST_LIFE)),
    ("identity.validity", lambda world: world.identity(at=NOON - 2 * DAY, not_before=NOON - 2 * DAY)),
    ("identity.serial", lambda world: world.identity(serial=bytes(16))),
]


@pytest.mark.parametrize(("reason", "make"), IDENTITIES, ids=[f"{at}-{one[0]}" for at, one in enumerate(IDENTITIES)])
def test_an_identity_that_its_rules_do_not_allow_has_no_effect(world, reason, make):
    entry = make(world)
    before = world.state()
    after = advance(before, entry)
    assert after.broken == reason
    assert after.lines == before.lines


def test_a_role_that_the_contract_does_not_name_gets_no_identity():
    world = IdentityWorld(roles=("gateway",))
    assert world.state(world.identity()).broken == "identity.role"


def test_a_serial_number_is_given_once(world):
    world.log.append(world.identity())
    assert world.state(world.identity(at=NOON + 1)).broken == "identity.serial"


def test_a_kms_instance_gets_an_identity_for_itself_and_for_no_other(world):
    assert not world.state(world.identity(node=world.kms, role="kms")).reason
    assert world.state(world.identity(node=world.service, role="kms")).broken == "identity.role"


def test_a_node_is_revoked_by_its_thumbprint_however_many_identities_came_since(world):
    """Whoever may have others' identities issued could push out the one that a party would name."""
    state = advance(world.state(), world.identity(serial=serial(1)))
    for number in range(KEPT_IDENTITIES):
        state = advance(state, world.identity(node=Node(), serial=serial(2 + number)))
    assert not state.reason
    thumbprint = world.service.keys.thumbprint()
    revocation = Revocation(contract=world.line, target=thumbprint, reason="stolen")
    state = advance(state, sign_statement("revocation", revocation, (world.parties.owner,)))
    assert not state.reason
    assert world.service.sign.public in state.lines[world.line].revoked_nodes


def test_a_node_is_revoked_with_its_identity(world):
    entry = revoked(world)
    assert world.service.sign.public in world.line_after().revoked_nodes
    assert world.state(entry).broken == "release.node"


def test_the_first_root_may_be_made_for_a_contract_that_keeps_no_assets_and_the_second_may_not(world):
    assert world.line_after().custody.latest is not None
    assert world.state(world.root(2, entry_digest(world.root_entry))).broken == "root.due"


def second_authority(world):
    asked = Rotation(contract=world.line, generation=1, reason="it is old")
    world.log.append(sign_statement("rotation", asked, (world.parties.owner,)))
    root = world.root(2, entry_digest(world.root_entry))
    world.log.append(root)
    window = Window(NOON - 60, NOON + DAY)
    made = make_authority(world.key(2), line=world.line, generation=2, window=window, serial=serial(5))
    world.log.append(world.authority(generation=2, root=entry_digest(root), certificate=made))
    return {entry_digest(world.root_entry), entry_digest(root)}


def test_a_new_authority_issues_once_every_node_had_time_to_hear_of_it(world):
    held = second_authority(world)
    line = world.line_after()
    order = lambda at: [  # noqa: E731 - the generations, the issuing one first
        one.authority.generation for one in line.identities.issuing(line.custody, held=held, life=HOUR, at=at)
    ]
    assert order(NOON + HOUR - 1) == [1, 2]
    assert order(NOON + HOUR) == [2, 1]


def test_what_can_be_issued_with_is_what_is_held(world):
    second_authority(world)
    line = world.line_after()
    of_first = line.identities.issuing(
        line.custody, held={entry_digest(world.root_entry)}, life=HOUR, at=NOON + 2 * HOUR
    )
    assert [one.authority.generation for one in of_first] == [1, 2]
    assert not line.identities.issuing(line.custody, held=set(), life=HOUR, at=NOON)
