"""Identities in the KMS: an authority made once, certificates for attested nodes, none for anybody else."""

import msgspec
import pytest
from tests.doubles.identity_system import IdentitySystem, NamedNode
from tests.doubles.identity_world import serial
from tests.doubles.kms_system import Link

from cloister.contract.identity_certificate import Window, make_authority
from cloister.contract.release import ReleaseRefused
from cloister.crypto.p256 import P256Key
from cloister.errors import Unavailable
from cloister.formats import canonical
from cloister.formats.identity import Authority, parse_identity
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.testing.world import DAY
from cloister.trust.identity import examine_peer
from cloister.trust.identity_reply import IDENTITY_REPLY_STEPS, examine_identity_reply
from cloister.trust.reply import ReplyRefused

replace = msgspec.structs.replace


@pytest.fixture
def system():
    return IdentitySystem()


@pytest.mark.parametrize("role", ["service", "gateway"])
async def test_an_attested_node_gets_a_certificate_that_others_know_it_by(system, role):
    kms = await system.started()
    node = NamedNode(system, role)
    issued = await node.identity(kms)
    peer = examine_peer(issued.certificate, issued.authorities, line=system.line, roles={role}, at=system.now).require()
    assert peer.name.node == node.secrets.public.thumbprint()
    assert peer.window.not_after == system.now + 3_600


async def test_the_authority_is_made_with_the_first_identity_and_not_again(system):
    kms = await system.started()
    assert not system.identities(kms).authorities
    await NamedNode(system).identity(kms)
    await NamedNode(system).identity(kms)
    kinds = [open_statement(entry).kind for entry in system.world.log.entries]
    assert (kinds.count("root"), kinds.count("authority"), kinds.count("identity")) == (1, 1, 2)


async def test_another_replica_issues_with_the_same_authority(system):
    first = await system.started()
    before = await NamedNode(system).identity(first)
    second = await system.started(peers=(Link(first),))
    after = await NamedNode(system).identity(second)
    assert before.authorities == after.authorities
    assert len(system.identities(second).issued) == 2


async def test_a_replica_without_the_root_secret_issues_nothing_and_says_what_to_do(system):
    first = await system.started()
    await NamedNode(system).identity(first)
    alone = await system.started()
    with pytest.raises(Unavailable, match="root secret of this contract's authority is not held here"):
        await NamedNode(system).ask(alone)


async def test_an_authority_that_the_root_secret_does_not_derive_issues_nothing(system):
    kms = await system.started()
    await kms._custody.have_root(system.line)
    (root,) = kms._standing.state.lines[system.line].custody.roots
    key, window = P256Key.generate(), Window(system.now - 60, system.now + DAY)
    made = Authority(
        contract=system.line,
        generation=1,
        root=root.placed.digest,
        certificate=make_authority(key, line=system.line, generation=1, window=window, serial=serial(1)),
        at=system.now,
    )
    system.world.log.append(sign_statement("authority", made, (kms._standing.instance.secrets.sign,)))
    with pytest.raises(Unavailable, match="not the one that the root secret derives"):
        await NamedNode(system).ask(kms)


async def test_a_node_of_a_role_that_the_contract_does_not_name_is_refused_and_that_is_logged():
    system = IdentitySystem()
    system.contract = replace(system.contract, tasks=system.world.make_contract().tasks)
    system.contract_entry = system.sign_contract(system.contract)
    kms = await system.started()
    with pytest.raises(ReleaseRefused, match=r"release\.role: the contract names no service"):
        await NamedNode(system).ask(kms)
    await kms.follow()
    refusal = kms._standing.state.lines[system.line].refusals.latest[-1].refusal
    assert (refusal.wanted, refusal.failed[0].check) == ("identity", "release.role")


async def test_a_revoked_node_is_not_renewed(system):
    kms = await system.started()
    node = NamedNode(system)
    reply = await node.ask(kms)
    record = Revocation(contract=system.line, target=entry_digest(reply.entry), reason="its machine was opened")
    system.world.log.append(sign_statement("revocation", record, (system.parties.owner,)))
    with pytest.raises(ReleaseRefused, match=r"release\.node"):
        await node.ask(kms)


async def test_a_certificate_does_not_outlive_its_contract(system):
    kms = await system.started()
    system.now = system.contract.not_after - 600
    await kms.follow()
    issued = await NamedNode(system).identity(kms)
    assert issued.window.not_after == system.contract.not_after
    system.now += 600
    with pytest.raises(ReleaseRefused, match=r"release\.validity"):
        await NamedNode(system).ask(kms)


async def test_an_answer_of_the_log_that_is_lost_issues_nothing(system):
    kms = await system.started()
    node = NamedNode(system)
    request = canonical.encode(node.request(kms.challenge()))
    append = system.ledger.append

    async def cut(entry):
        if open_statement(entry).kind == "identity":
            raise Unavailable("the ledger cannot be reached")
        return await append(entry)

    system.ledger.append = cut
    with pytest.raises(Unavailable):
        await kms.identity(request)
    assert not system.identities(kms).issued


# What the node examines of the reply.


class Answered:
    """A reply in order, and what was asked; a row changes one thing."""

    def __init__(self, system, node, reply, bundle):
        self.system, self.node, self.reply, self.bundle = system, node, reply, bundle
        self.asked = node.asked

    @classmethod
    async def made(cls):
        system = IdentitySystem()
        kms = await system.started()
        node = NamedNode(system)
        reply = await node.ask(kms)
        return cls(system, node, reply, system.examined(kms))

    def examine(self):
        return examine_identity_reply(self.reply, self.asked, self.bundle)


def put(answered, **changes):
    answered.reply = replace(answered.reply, **changes)


def asked(answered, **changes):
    fields = {name: getattr(answered.asked, name) for name in ("line", "role", "keys", "key")}
    answered.asked = type(answered.asked)(**(fields | changes))


def resigned(answered):
    record = parse_identity(open_statement(answered.reply.entry).payload)
    put(answered, entry=sign_statement("identity", record, (answered.system.parties.operator,)))


BREAKS = [
    ("reply.contract", lambda answered: asked(answered, role="gateway")),
    ("reply.authorities", lambda answered: put(answered, authorities=(answered.reply.entry,))),
    ("reply.certificate", lambda answered: put(answered, certificate=b"no certificate")),
    ("reply.certificate", lambda answered: asked(answered, key=P256Key.generate().public)),
    ("reply.inclusion", lambda answered: put(answered, path=(bytes(32),))),
    ("checkpoint.origin", lambda answered: put(answered, checkpoint=b"no note")),
]


@pytest.mark.parametrize(
    ("check", "change"),
    [pytest.param(*one, id=f"{at}-{one[0]}", marks=pytest.mark.breaks(one[0])) for at, one in enumerate(BREAKS)],
)
async def test_a_reply_that_is_out_of_order_is_refused_by_that_check_alone(check, change):
    answered = await Answered.made()
    change(answered)
    examination = answered.examine()
    assert examination.failed == [check]
    with pytest.raises(ReplyRefused, match=check):
        examination.require()


async def test_a_reply_that_the_kms_did_not_sign_is_refused():
    answered = await Answered.made()
    resigned(answered)
    assert answered.examine().failed == ["reply.signature"]


async def test_a_reply_to_another_nodes_keys_is_refused():
    answered = await Answered.made()
    asked(answered, keys=NamedNode(answered.system).secrets.public)
    assert "reply.node" in answered.examine().failed


async def test_a_reply_in_order_passes_every_step():
    answered = await Answered.made()
    examination = answered.examine()
    assert [step.id for step in examination.steps] == list(IDENTITY_REPLY_STEPS)
    assert examination.require().name.role == "service"


async def test_a_kms_instance_has_an_identity_of_its_own(system):
    kms = await system.started()
    standing, key = kms._standing, P256Key.generate()
    shown = standing.instance.evidence(standing.history.checkpoint, standing.state.constitution)
    reply = await kms._identities.issue_to_itself(system.line, key, shown)
    made = parse_identity(open_statement(reply.entry).payload)
    assert (made.role, made.node.sign) == ("kms", standing.instance.key)


async def test_a_day_later_the_same_node_gets_another(system):
    kms = await system.started()
    node = NamedNode(system)
    first = await node.identity(kms)
    system.now += DAY // 2
    await kms.follow()
    second = await node.identity(kms)
    assert first.window.not_after < second.window.not_before
    assert first.name == second.name


async def test_a_host_whose_clock_is_ahead_has_nothing_dated_and_no_authority_made(system):
    """An authority is made once: of a date that is to come, it would serve nobody until a party asks for another."""
    kms = await system.started()
    before, noon = len(system.world.log.entries), system.now
    system.ledger._clock = lambda: noon  # the witnesses'
    system.now += 600
    with pytest.raises(Unavailable, match="beyond what the witnesses stated last: set it right"):
        await NamedNode(system).identity(kms)
    kinds = [open_statement(entry).kind for entry in system.world.log.entries[before:]]
    assert not {"authority", "identity"} & set(kinds)
    system.now = noon + 30
    await NamedNode(system).identity(kms)
