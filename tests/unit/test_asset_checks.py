"""Every step a KMS performs before an asset leaves: each row breaks one link and nothing else."""

import hashlib

import msgspec
import pytest
from tests.doubles.custody_world import CustodyWorld

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.asset_release import AssetsAsked, examine_assets, examine_use
from cloister.contract.release import ReleaseRefused
from cloister.contract.release_steps import ASSET_STEPS, USE_PUBLICATION_STEPS
from cloister.contract.replay import examine_first_log
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, NOON, Node, evidence

replace = msgspec.structs.replace
CHALLENGE = hashlib.sha256(b"challenge of these tests").digest()


class Case:
    """A gateway that asks for the password with everything in order; a row changes one thing."""

    def __init__(self, *, uses=2, deposit=None, **changes):
        self.world = CustodyWorld(uses=uses, **changes)
        self.deposit = self.world.deposit(**(deposit or {}))
        self.world.log_all(self.world.root(), self.deposit)
        self.at = NOON
        self.assets: tuple[str, ...] = ("password",)
        self.live = True

    def asked(self):
        world = self.world
        shown = evidence(
            world.parties.platform, "gateway", world.gateway, challenge=CHALLENGE, subject=world.contract.digest()
        )
        return AssetsAsked(world.line, self.assets, shown, CHALLENGE, self.live, SEEN_NOTHING)

    def examine(self, **changes):
        asked = self.asked()
        asked = AssetsAsked(**({name: getattr(asked, name) for name in AssetsAsked.__slots__} | changes))
        return examine_assets(self.world.state(), asked, at=self.at)

    def use(self, **changes):
        return self.world.use(self.deposit, **changes)

    def revoke(self):
        record = Revocation(contract=self.world.line, target=entry_digest(self.deposit), reason="lost")
        self.world.log.append(sign_statement("revocation", record, (self.world.parties.owner,)))


def grant(world, **changes):
    return (world.contract.grants[0], replace(world.contract.grants[1], **changes))


def test_a_node_in_order_may_have_what_it_asks_for():
    decision = Case().examine().require()
    assert [one.deposit.terms.asset for one in decision.deposits] == ["password"]
    assert (decision.task, decision.checks) == ("serve", ASSET_STEPS)


def revoked():
    case = Case()
    case.revoke()
    return case


def never_deposited():
    case = Case()
    case.assets = ("password", "whisper-1")
    return case


def asked_twice():
    case = Case()
    case.assets = ("password", "password")
    return case


def used_up():
    case = Case(uses=1)
    case.world.log.append(case.use())
    return case


def late(case, at):
    case.at = at
    return case


def granted(**changes):
    return Case(grants=grant(CustodyWorld(), **changes))


BREAKS = [
    ("asset.deposit", "a deposit that its owner revoked", revoked),
    ("asset.deposit", "an asset that was never deposited", never_deposited),
    ("asset.deposit", "an asset asked for twice", asked_twice),
    ("asset.grant", "an asset without a grant", lambda: Case(grants=CustodyWorld().contract.grants[:1])),
    ("asset.expiry", "a deposit that has expired", lambda: late(Case(deposit={"expires": NOON + 60}), NOON + 60)),
    ("asset.expiry", "a grant that has ended", lambda: late(granted(not_after=NOON + 60), NOON + 60)),
    ("asset.uses", "a grant that is used up", used_up),
    ("asset.workload", "a node of other code", lambda: Case(deposit={"workloads": (bytes(48),)})),
    ("release.policy", "a node on another platform than granted", lambda: granted(policy=('platform == "snp"',))),
    ("release.policy", "a node without the GPUs granted", lambda: granted(policy=("gpus.count > 0",))),
]


@pytest.mark.parametrize(
    ("check", "make"),
    [pytest.param(check, make, id=words, marks=pytest.mark.breaks(check)) for check, words, make in BREAKS],
)
def test_each_broken_link_is_refused_by_its_check_alone(check, make):
    examination = make().examine()
    assert examination.failed == [check]
    with pytest.raises(ReleaseRefused, match=check):
        examination.require()


@pytest.mark.breaks("asset.task")
def test_what_was_deposited_for_another_task_is_refused_by_that_check_alone():
    case = Case()
    task = replace(case.world.contract.serving, name="answer")
    successor = replace(
        case.world.contract,
        sequence=1,
        previous=case.world.contract.digest(),
        tasks=(task,),
        grants=tuple(replace(one, task="answer") for one in case.world.contract.grants),
        outcomes=tuple(replace(one, task="answer") for one in case.world.contract.outcomes),
    )
    signers = (case.world.parties.owner, case.world.parties.operator, *case.world.custodians.values())
    case.world.log.append(sign_statement("contract", successor, signers))
    shown = evidence(
        case.world.parties.platform, "gateway", case.world.gateway, challenge=CHALLENGE, subject=successor.digest()
    )
    assert case.examine(evidence=shown).failed == ["asset.task"]


def test_a_node_of_another_contract_or_role_is_refused_as_for_a_transport_key():
    case, stranger = Case(), CustodyWorld()
    shown = evidence(
        case.world.parties.platform, "gateway", case.world.gateway, challenge=CHALLENGE, subject=stranger.line
    )
    assert case.examine(evidence=shown).failed == ["evidence.subject"]
    shown = evidence(case.world.parties.platform, "kms", case.world.kms, challenge=CHALLENGE, subject=case.world.line)
    assert case.examine(evidence=shown).failed == ["release.role"]
    assert case.examine(contract=bytes(32)).failed == ["release.contract"]
    case.live = False
    assert case.examine().failed == ["release.challenge"]


def test_a_contract_that_was_revoked_lets_nothing_out():
    case = Case()
    record = Revocation(contract=case.world.line, target=case.world.line, reason="it is over")
    case.world.log.append(sign_statement("revocation", record, (case.world.parties.owner,)))
    assert case.examine().failed == ["release.contract"]


def test_whatever_code_the_contract_names_may_have_what_is_meant_for_its_task():
    assert Case(deposit={"workloads": "task"}).examine().failed == []


class Published:
    """A use that is in the log; what overtakes it is appended before it is examined."""

    def __init__(self, **changes):
        self.case = Case(**changes)
        self.decision = self.case.examine().require()
        self.entry = self.case.use()
        self.at = NOON

    def examine(self, path=None):
        log = self.case.world.log
        index = log.append(self.entry)
        (logged,) = log.logged([index])
        genesis = self.case.world.constitution.digest()
        replayed = examine_first_log(log.entries, log.checkpoint(at=self.at), genesis=genesis).require()
        return examine_use(
            self.decision,
            self.entry,
            index=index,
            path=logged.path if path is None else path,
            checkpoint=replayed.checkpoint,
            state=replayed.state,
        )


def test_a_use_in_the_witnessed_log_lets_the_asset_go():
    assert Published().examine().require().index == 7


@pytest.mark.breaks("release.inclusion")
def test_a_use_that_is_not_in_the_log_is_refused_by_that_check_alone():
    assert Published().examine(path=(bytes(32),)).failed == ["release.inclusion"]


@pytest.mark.breaks("asset.effect")
def test_a_use_that_another_replica_overtook_is_refused_by_that_check_alone():
    published = Published(uses=1)
    published.case.world.log.append(published.case.use(at=NOON + 1))
    examination = published.examine()
    assert examination.failed == ["asset.effect"]
    with pytest.raises(ReleaseRefused, match="no use may be left"):
        examination.require()


@pytest.mark.breaks("asset.effect")
def test_a_use_that_no_kms_signed_is_refused_by_that_check_alone():
    published = Published()
    published.entry = published.case.use(node=Node())
    assert published.examine().failed == ["asset.effect"]


def test_a_deposit_or_contract_that_ended_while_the_log_was_waited_for_lets_nothing_out():
    published = Published(deposit={"expires": NOON + 60})
    published.at = NOON + 60
    assert published.examine().failed == ["release.unchanged"]
    published = Published()
    published.at = NOON + DAY
    assert "release.unchanged" in published.examine().failed


def test_a_deposit_revoked_meanwhile_lets_nothing_out():
    published = Published()
    published.case.revoke()
    assert published.examine().failed == ["release.unchanged", "asset.effect"]


def test_every_step_of_a_publication_is_shown_above():
    assert USE_PUBLICATION_STEPS == ("release.inclusion", "release.unchanged", "asset.effect")
