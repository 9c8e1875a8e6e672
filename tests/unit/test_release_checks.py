"""Every step a KMS performs before a key leaves: each row breaks one link and nothing else."""

import hashlib
from collections.abc import Callable

import msgspec
import pytest

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.fold import begin, fold
from cloister.contract.release import Asked, ReleaseRefused, examine_publication, examine_release
from cloister.contract.release_steps import PUBLICATION_STEPS, RELEASE_STEPS
from cloister.contract.replay import examine_first_log
from cloister.contract.state import State
from cloister.crypto.signing import SigningKey
from cloister.formats.contract import Asset, Endpoint
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence, SecuritySettings
from cloister.formats.release import Revocation
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import (
    DAY,
    NOON,
    Node,
    World,
    evidence,
    sealed_evidence,
    security_settings,
    serving,
    signed_report,
)

replace = msgspec.structs.replace
CHALLENGE = hashlib.sha256(b"challenge of these tests").digest()


class Case:
    """A node that asks for the first epoch's key with everything in order; a row changes one thing."""

    def __init__(self):
        self.world = World()
        self.at = NOON
        self.held = None  # the epochs whose keys the instance holds; the world's, where a row says nothing
        self.asked = Asked(self.world.contract.digest(), 1, self.evidence(), CHALLENGE, True, SEEN_NOTHING)

    def evidence(self):
        world = self.world
        subject = world.contract.digest()
        return evidence(world.parties.platform, "gateway", world.gateway, challenge=CHALLENGE, subject=subject)

    def state(self) -> State:
        entries = self.world.log.entries
        return fold(begin(entries[0], genesis=self.world.constitution.digest()), entries[1:])

    def examine(self):
        state = self.state()
        every = {record.placed.digest for line in state.lines.values() for record in line.epochs}
        return examine_release(state, self.asked, held=every if self.held is None else self.held, at=self.at)

    def ask(self, **changes):
        fields = {name: getattr(self.asked, name) for name in Asked.__slots__}
        self.asked = Asked(**(fields | changes))

    def show(self, **changes):
        self.ask(evidence=replace(self.asked.evidence, **changes))

    def rebind(self, **changes):
        binding = replace(self.asked.evidence.binding, **changes)
        self.show(binding=binding, report=signed_report(self.world.parties.platform, binding.report_data()))

    def recontract(self, **changes):
        """Another first contract with everything that follows it, and a node of it."""
        world = self.world
        world.contract = replace(world.contract, **changes)
        signers = (world.parties.owner, world.parties.operator)
        world.log.entries[world.contract_entries[0]] = sign_statement("contract", world.contract, signers)
        world.epoch = replace(world.epoch, contract=world.contract.digest())
        world.log.entries[world.epoch_entries[0]] = sign_statement("epoch", world.epoch, (world.kms.sign,))
        self.ask(contract=world.contract.digest(), evidence=self.evidence())

    def settings(self, settings: SecuritySettings):
        """A node with these settings, which the contract names."""
        world = self.world
        gateway = replace(world.contract.serving.nodes[0], settings=(settings.digest(),))
        self.recontract(tasks=(serving(nodes=(gateway,)),))
        binding = replace(self.asked.evidence.binding, settings=settings.digest())
        self.ask(evidence=sealed_evidence(world.parties.platform, binding, settings, world.gateway))

    def value(self, **changes):
        settings = security_settings("gateway")
        self.settings(replace(settings, values=settings.values | changes))


BREAKS: dict[str, list[Callable[[Case], None]]] = {}


def breaks(check):
    def put(row):
        BREAKS.setdefault(check, []).append(row)
        return row

    return put


@breaks("release.contract")
def a_contract_that_nobody_published(case):
    case.ask(contract=bytes(32))


@breaks("release.contract")
def a_contract_that_its_model_owner_revoked(case):
    line = case.world.contract.digest()
    said = Revocation(contract=line, target=line, reason="terminated")
    case.world.log.append(sign_statement("revocation", said, (case.world.parties.owner,)))


@breaks("release.validity")
def a_contract_that_has_ended(case):
    case.recontract(not_after=NOON)


@breaks("release.validity")
def a_contract_that_has_not_begun(case):
    case.recontract(not_before=NOON + 1)


@breaks("release.epoch")
def a_key_id_that_does_not_exist(case):
    case.ask(key_id=2)


@breaks("release.epoch")
def a_key_that_this_instance_does_not_hold(case):
    case.held = set()


@breaks("release.epoch-window")
def a_key_past_its_life(case):
    world = case.world
    world.epoch = replace(world.epoch, not_before=NOON - DAY, not_after=NOON - 60, stale_until=NOON)
    world.log.entries[world.epoch_entries[0]] = sign_statement("epoch", world.epoch, (world.kms.sign,))


@breaks("release.revoked")
def a_key_known_to_be_lost(case):
    world = case.world
    target = entry_digest(world.log.entries[world.epoch_entries[0]])
    revocation = Revocation(contract=world.contract.digest(), target=target, reason="lost")
    world.log.append(sign_statement("revocation", revocation, (world.parties.owner,)))


@breaks("release.node")
def a_revoked_node_that_asks_again(case):
    world = case.world
    target = entry_digest(world.log.entries[world.release_entries[0]])
    revocation = Revocation(contract=world.contract.digest(), target=target, reason="stolen")
    world.log.append(sign_statement("revocation", revocation, (world.parties.owner,)))


@breaks("release.role")
def a_role_that_the_contract_does_not_name(case):
    case.recontract(tasks=(serving(nodes=()),))


@breaks("release.challenge")
def recorded_evidence_played_again(case):
    case.ask(challenge_live=False)


@breaks("evidence.platform")
def a_platform_that_nobody_agreed_to(case):
    case.recontract(appraisal=replace(case.world.contract.appraisal, platforms=()))


@breaks("evidence.software-tee")
def a_software_tee_that_the_contract_does_not_accept(case):
    case.world.contract = replace(case.world.contract, appraisal=replace(case.world.contract.appraisal, unsafe=()))
    case.settings(replace(security_settings("gateway"), unsafe=()))


@breaks("evidence.signature")
def a_report_by_an_unnamed_platform_key(case):
    case.show(report=signed_report(SigningKey.generate(), case.asked.evidence.binding.report_data()))


@breaks("evidence.endorsements")
def endorsements_that_a_software_tee_has_none_of(case):
    case.show(endorsements=(Endorsement(kind="amd-certificates", data=b"certificate"),))


@breaks("evidence.binding")
def a_true_report_beside_false_claims(case):
    case.show(report=signed_report(case.world.parties.platform, bytes(64)))


@breaks("evidence.challenge")
def evidence_for_another_challenge(case):
    case.rebind(challenge=bytes(32))


@breaks("evidence.role")
def settings_of_another_role(case):
    case.settings(replace(security_settings("gateway"), role="kms"))


@breaks("evidence.subject")
def evidence_for_another_contract(case):
    case.rebind(subject=bytes(32))


@breaks("evidence.keys")
def keys_exchanged_on_the_way(case):
    case.show(keys=Node().keys)


@breaks("evidence.gpu")
def gpu_evidence_that_was_not_bound(case):
    case.show(gpu=(GpuEvidence(report=b"report", chain=b"chain"),))


@breaks("evidence.settings-digest")
def settings_shown_that_are_not_in_force(case):
    settings = case.asked.evidence.settings
    case.show(settings=replace(settings, values=settings.values | {"more": True}))


@breaks("evidence.settings")
def a_gateway_with_other_settings_than_the_contract_names(case):
    world = case.world
    settings = security_settings("gateway")
    settings = replace(settings, values=settings.values | {"more": True})
    binding = replace(case.asked.evidence.binding, settings=settings.digest())
    case.ask(evidence=sealed_evidence(world.parties.platform, binding, settings, world.gateway))


@breaks("evidence.unsafe")
def an_exception_in_force_that_the_node_does_not_claim(case):
    case.settings(replace(security_settings("gateway"), unsafe=()))


@breaks("evidence.platform-measurement")
def another_platform_below_the_same_code(case):
    report_data = case.asked.evidence.binding.report_data()
    case.show(report=signed_report(case.world.parties.platform, report_data, platform_measurement=bytes(48)))


@breaks("evidence.workload")
def a_gateway_with_one_byte_of_one_dependency_changed(case):
    report_data = case.asked.evidence.binding.report_data()
    changed = hashlib.sha384(b"workload of these testt").digest()
    case.show(report=signed_report(case.world.parties.platform, report_data, workload=changed))


@breaks("release.sandbox")
def another_sandbox_profile(case):
    case.value(sandbox=bytes(32).hex())


@breaks("release.engine")
def another_engine(case):
    case.value(engine=bytes(32).hex())


@breaks("release.model")
def another_model(case):
    case.value(model=bytes(32).hex())


@breaks("release.model")
def a_model_that_no_grant_lets_the_task_use(case):
    case.recontract(grants=())


@breaks("release.tier")
def a_sandbox_of_a_lower_tier(case):
    case.value(tier="namespaces")


@breaks("release.tier")
def a_contract_that_asks_for_a_higher_tier(case):
    sandbox = replace(case.world.contract.serving.sandbox, tier="signals")
    case.recontract(tasks=(serving(sandbox=sandbox),))


@breaks("release.tier")
def a_tier_that_there_is_not(case):
    case.value(tier="all")


@breaks("release.endpoints")
def one_endpoint_more(case):
    case.value(endpoints="POST /v1/audio/transcriptions POST /v1/anything")


@breaks("release.endpoints")
def one_endpoint_of_the_contract_less(case):
    endpoints = (*case.world.contract.serving.endpoints, Endpoint(method="GET", path="/v1/models"))
    case.recontract(tasks=(serving(endpoints=endpoints),))


def granting(case, *grants, **changes):
    """The model's grant with `changes`, and others besides."""
    (own,) = case.world.contract.grants
    case.recontract(grants=(replace(own, **changes), *grants))


@breaks("release.model")
def a_model_whose_grant_is_over(case):
    granting(case, not_after=NOON)


@breaks("release.policy")
def a_node_that_the_models_owner_did_not_mean(case):
    granting(case, policy=("gpus.count >= 1",))


@breaks("release.policy")
def a_node_of_which_something_is_asked_that_it_does_not_say(case):
    granting(case, policy=("platform == 'software' || snp.vmpl == 0",))


@breaks("release.policy")
def a_node_that_the_owner_of_a_secret_did_not_mean(case):
    contract = case.world.contract
    secret = Asset(
        name="token", kind="secret", digest=b"", owner=contract.assets[0].owner, recovery="none", section="none"
    )
    grant = replace(contract.grants[0], asset="token", policy=("settings.sandbox == ''",))
    case.world.contract = replace(contract, assets=(*contract.assets, secret))
    granting(case, grant)


ROWS = [
    pytest.param(check, row, id=f"{check}-{row.__name__}", marks=pytest.mark.breaks(check))
    for check, rows in BREAKS.items()
    for row in rows
]


def test_a_node_with_everything_in_order_is_given_the_key():
    decision = Case().examine().require()
    assert decision.epoch.epoch.number == 1
    assert decision.checks == RELEASE_STEPS


def test_each_owners_policy_is_asked_of_the_node_and_of_the_model_that_it_runs():
    case = Case()
    contract = case.world.contract
    other = replace(contract.assets[0], name="another model", digest=bytes(32))
    case.world.contract = replace(contract, assets=(*contract.assets, other))
    granting(case, policy=(f"time == {NOON}", "platform == 'software' && role == 'gateway'"))
    examination = case.examine()
    assert examination.failed == []
    (step,) = [step for step in examination.steps if step.id == "release.policy"]
    assert step.detail == "2 expressions of 1 keys hold"


@pytest.mark.parametrize(("check", "row"), ROWS)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    assert all(step.detail for step in examination.steps if step.id == check), "a shortfall says what is wrong"
    with pytest.raises(ReleaseRefused) as refusal:
        examination.require()
    assert refusal.value.check == check


def test_every_step_of_a_release_has_a_row():
    assert set(BREAKS) == set(RELEASE_STEPS)


# After the release was logged.


class Published:
    """A release decided and logged."""

    def __init__(self):
        self.case = Case()
        self.world = self.case.world
        self.decision = self.case.examine().require()
        self.entry = sign_statement("release", self.world.make_release(at=NOON), (self.world.kms.sign,))
        self.index = self.world.log.append(self.entry)
        self.at = NOON

    def examine(self, entry=None, path=None):
        log = self.world.log
        (logged,) = log.logged([self.index])
        genesis = self.world.constitution.digest()
        replayed = examine_first_log(log.entries, log.checkpoint(at=self.at), genesis=genesis).require()
        return examine_publication(
            self.decision,
            entry or self.entry,
            index=self.index,
            path=logged.path if path is None else path,
            checkpoint=replayed.checkpoint,
            state=replayed.state,
        )


def test_a_release_in_the_witnessed_log_lets_the_key_go():
    assert Published().examine().require().index == 5


@pytest.mark.breaks("release.inclusion")
def test_a_release_that_is_not_in_the_log_is_refused_by_that_check_alone():
    published = Published()
    examination = published.examine(path=(bytes(32),))
    assert examination.failed == ["release.inclusion"]
    with pytest.raises(ReleaseRefused, match=r"release\.inclusion"):
        examination.require()


@pytest.mark.breaks("release.effect")
def test_a_release_that_the_log_holds_void_is_refused_by_that_check_alone():
    published = Published()
    stranger = sign_statement("release", published.world.make_release(at=NOON), (SigningKey.generate(),))
    published.index = published.world.log.append(stranger)
    examination = published.examine(entry=stranger)
    assert examination.failed == ["release.effect"]


def amended(published):
    world = published.world
    successor = replace(world.contract, sequence=1, previous=world.contract.digest())
    world.log.append(sign_statement("contract", successor, (world.parties.owner, world.parties.operator)))


def revoked(published):
    world = published.world
    target = published.decision.epoch.placed.digest
    revocation = Revocation(contract=world.contract.digest(), target=target, reason="lost")
    world.log.append(sign_statement("revocation", revocation, (world.parties.operator,)))


def ended(published):
    published.at = published.world.epoch.stale_until


def expired(published):
    published.at = published.world.contract.not_after


def retired(published):
    world = published.world
    successor = replace(world.constitution, sequence=1, previous=world.constitution.digest())
    world.log.append(sign_statement("constitution", successor, (world.parties.owner, world.parties.operator)))


@pytest.mark.breaks("release.unchanged")
@pytest.mark.parametrize("overtake", [amended, revoked, retired, ended, expired])
def test_an_entry_that_overtakes_a_release_holds_the_key_back(overtake):
    published = Published()
    overtake(published)
    assert published.examine().failed == ["release.unchanged"]


def test_every_step_of_a_publication_is_shown_above():
    assert PUBLICATION_STEPS == ("release.inclusion", "release.unchanged", "release.effect")
