"""Every step before an owner seals to a KMS's key, and before a node uses what came: one broken link each."""

import hashlib

import msgspec
import pytest
from tests.doubles.changed_bytes import last_bit_flipped
from tests.doubles.custody_system import CustodySystem, WantingNode

from cloister.crypto.cose import open1, sign1
from cloister.crypto.hpke import wrap
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.custody import ASSET_INFO, AssetSeal, Deposit, Deposited, parse_deposit, parse_use
from cloister.formats.custody_messages import INTAKE_TYPE, WrappedAsset, parse_intake, parse_intake_head
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.trust.asset_reply import ASSET_REPLY_STEPS, AssetsAskedFor, examine_asset_reply
from cloister.trust.intake import INTAKE_STEPS, IntakeRefused, examine_intake
from cloister.trust.reply import ReplyRefused

replace = msgspec.structs.replace


class Case:
    """An owner who examines an intake key with everything in order; a row changes one thing."""

    def __init__(self, system, kms):
        self.system, self.kms = system, kms
        self.bundle = system.examined(kms)
        self.intake = parse_intake(kms.intake(system.line))
        self.line = system.line

    @property
    def key(self):
        return self.kms._standing.instance.secrets.sign

    def head(self, key=None, **changes):
        public = self.key.public
        head = parse_intake_head(open1(self.intake.head, public=public, content_type=INTAKE_TYPE))
        signed = sign1(key or self.key, canonical.encode(replace(head, **changes)), content_type=INTAKE_TYPE)
        self.intake = replace(self.intake, head=signed)

    def examine(self):
        return examine_intake(self.intake, self.bundle, line=self.line)


@pytest.fixture
async def case():
    system = CustodySystem()
    return Case(system, await system.started())


async def test_a_kms_in_order_shows_the_key_of_its_latest_root(case):
    verified = case.examine().require()
    latest = case.system.custody(case.kms).custody.roots[-1]
    assert (verified.generation, verified.key, verified.line) == (1, latest.root.intake, case.line)


def another_root(case):
    stranger = sign_statement("rotation", latest_root(case), (case.key,))
    case.head(root=entry_digest(stranger))
    case.intake = replace(case.intake, root=replace(case.intake.root, entry=stranger))


def latest_root(case):
    return case.system.custody(case.kms).custody.roots[-1].root


def noted(case, note):
    case.intake = replace(case.intake, checkpoint=note)
    case.head(checkpoint=hashlib.sha256(note).digest())


BREAKS = [
    ("intake.signature", "a stranger's word", lambda case: case.head(SigningKey.generate())),
    ("intake.signature", "noise for a word", lambda case: setattr(case, "intake", replace(case.intake, head=b"x"))),
    ("intake.contract", "a word on another contract", lambda case: setattr(case, "line", bytes(32))),
    ("intake.checkpoint", "a word on another checkpoint", lambda case: case.head(checkpoint=bytes(32))),
    (
        "intake.inclusion",
        "a root that is not in the log",
        lambda case: setattr(case, "intake", replace(case.intake, root=replace(case.intake.root, path=()))),
    ),
    ("intake.root", "another root than the one named", lambda case: case.head(root=bytes(32))),
    ("intake.root", "another generation than the one named", lambda case: case.head(generation=2)),
    ("intake.held", "a secret that was lost", lambda case: case.head(held=False)),
]


@pytest.mark.parametrize(
    ("check", "change"),
    [pytest.param(check, change, id=words, marks=pytest.mark.breaks(check)) for check, words, change in BREAKS],
)
async def test_each_broken_link_is_refused_by_its_check_alone(case, check, change):
    change(case)
    examination = case.examine()
    assert examination.failed == [check]
    with pytest.raises(IntakeRefused, match=check):
        examination.require()


async def test_a_statement_of_another_kind_is_no_root(case):
    another_root(case)
    assert case.examine().failed == ["intake.inclusion", "intake.root"]


@pytest.mark.breaks("intake.age")
async def test_a_key_that_was_followed_by_another_is_refused_as_older_than_the_bundle(case):
    old = case.intake
    await case.system.rotate(case.kms)
    case.bundle, case.intake = case.system.examined(case.kms), old
    assert case.examine().failed == ["intake.age"]


async def test_a_checkpoint_that_no_witness_saw_is_refused(case):
    noted(case, case.intake.checkpoint.partition(b"\xe2\x80\x94 witness")[0])
    assert "checkpoint.witnesses" in case.examine().failed


class Given:
    """A node that got the password with everything in order; a row changes one thing."""

    def __init__(self, system, kms, node, reply):
        self.system, self.kms, self.reply = system, kms, reply
        self.bundle = system.examined(kms)
        self.asked = AssetsAskedFor(system.line, node.assets, node.secrets.public, node.secrets.wrap)

    def examine(self):
        return examine_asset_reply(self.reply, self.asked, self.bundle)

    def use(self, key=None, **changes):
        """Another use in the log, with the asset sealed beside it."""
        record = replace(parse_use(parse_statement(self.reply.entry).payload), **changes)
        entry = sign_statement("use", record, (key or self.kms._standing.instance.secrets.sign,))
        index = self.system.world.log.append(entry)
        (logged,) = self.system.world.log.logged([index])
        note = self.system.world.log.checkpoint(at=self.system.now)
        self.reply = replace(self.reply, entry=entry, index=index, path=logged.path, checkpoint=note)
        self.seal()

    def seal(self, deposit=None, value=None):
        """The asset sealed again, as another deposit's or with another value."""
        entry = deposit or self.reply.assets[0].deposit
        deposited = value or Deposited(salt=bytes(32), value=b"a password of these tests")
        aad = canonical.encode(AssetSeal(use=entry_digest(self.reply.entry), deposit=entry_digest(entry)))
        wrapped = wrap(self.asked.keys.wrap, canonical.encode(deposited), info=ASSET_INFO, aad=aad)
        self.reply = replace(self.reply, assets=(WrappedAsset(deposit=entry, wrapped=wrapped),))

    def deposit(self, *keys, **changes):
        """Another deposit in the place of the owner's, which the use names too."""
        made = parse_deposit(parse_statement(self.reply.assets[0].deposit).payload)
        entry = sign_statement("deposit", Deposit(terms=replace(made.terms, **changes), blob=made.blob), keys)
        self.use(deposits=(entry_digest(entry),))
        self.seal(deposit=entry)


@pytest.fixture
async def given():
    system = CustodySystem()
    kms = await system.started()
    await system.deposit(kms)
    node = WantingNode(system)
    return Given(system, kms, node, await node.ask(kms))


def altered(given):
    (asset,) = given.reply.assets
    given.reply = replace(given.reply, assets=(replace(asset, wrapped=last_bit_flipped(asset.wrapped)),))


REPLY_BREAKS = [
    ("reply.signature", "a use by a stranger", lambda given: given.use(SigningKey.generate())),
    ("reply.contract", "a use for another task", lambda given: given.use(task="train")),
    ("reply.contract", "a use under another contract", lambda given: given.use(contract=bytes(32))),
    ("reply.inclusion", "a use that is not in the log", lambda given: setattr(given, "reply", unlogged(given.reply))),
    ("assets.asked", "an asset that was not asked for", lambda given: ask_for(given, "token")),
    ("assets.asked", "a deposit that the use does not name", lambda given: given.use(deposits=(bytes(32),))),
    ("assets.asked", "a deposit of another line", lambda given: given.deposit(owner(given), contract=bytes(32))),
    ("assets.owner", "a deposit by somebody else", lambda given: given.deposit(given.system.parties.operator)),
    ("assets.asked", "an asset that is none", lambda given: given.deposit(owner(given), asset="token")),
    ("assets.value", "a seal that was altered", altered),
    ("assets.value", "another value", lambda given: given.seal(value=Deposited(salt=bytes(32), value=b"x"))),
    ("assets.value", "another salt", lambda given: given.seal(value=Deposited(salt=b"x" * 32, value=b"x"))),
]


def unlogged(reply):
    return replace(reply, path=())


def owner(given):
    return given.system.parties.owner


def ask_for(given, *assets):
    given.asked = AssetsAskedFor(given.asked.line, assets, given.asked.keys, given.asked.wrap)


@pytest.mark.parametrize(
    ("check", "change"),
    [pytest.param(check, change, id=words, marks=pytest.mark.breaks(check)) for check, words, change in REPLY_BREAKS],
)
async def test_each_broken_link_of_a_reply_is_refused_by_its_check(given, check, change):
    assert given.examine().failed == []
    change(given)
    examination = given.examine()
    assert examination.failed[0] == check
    with pytest.raises(ReplyRefused, match=check):
        examination.require()


def test_every_step_is_shown_above():
    broken = {check for check, _, _ in (*BREAKS, *REPLY_BREAKS)} | {"intake.age"}
    assert broken >= {step for step in INTAKE_STEPS if step.startswith("intake.")}
    assert broken >= {step for step in ASSET_REPLY_STEPS if step.startswith("assets.")}
