"""What a client checks of the KMS's evidence before anything leaves its machine, a broken link a row."""

import hashlib

import msgspec
import pytest
from tests.doubles.bundle_case import Rows, require_refused_by

from cloister.crypto.signing import SigningKey
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence
from cloister.testing.world import (
    Node,
    sealed_evidence,
    security_settings,
    signed_report,
)

replace = msgspec.structs.replace

ROWS = Rows()
breaks = ROWS.breaks


@breaks("evidence.platform")
def a_platform_that_nobody_agreed_to(case):
    case.first_constitution(appraisal=replace(case.world.constitution.appraisal, platforms=()))


@breaks("evidence.software-tee")
def a_software_tee_that_the_constitution_does_not_accept(case):
    world = case.world
    settings = replace(security_settings("kms"), unsafe=())
    appraisal = replace(world.constitution.appraisal, unsafe=())
    kms = replace(world.constitution.kms, settings=(settings.digest(),))
    case.first_constitution(appraisal=appraisal, kms=kms)
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.signature")
def a_report_by_an_unnamed_platform_key(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=signed_report(SigningKey.generate(), shown.binding.report_data())))


@breaks("evidence.signature")
def a_report_altered(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=shown.report[:-1] + bytes([shown.report[-1] ^ 1])))


@breaks("evidence.endorsements")
def endorsements_that_a_software_tee_has_none_of(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, endorsements=(Endorsement(kind="amd-certificates", data=b"certificate"),)))


@breaks("evidence.signature")
def evidence_that_does_not_parse(case):
    case.bundle = replace(case.world.bundle(), evidence=b"noise")


@breaks("evidence.binding")
def a_true_report_beside_false_claims(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, report=signed_report(case.world.parties.platform, bytes(64))))


@breaks("evidence.challenge")
def evidence_for_another_checkpoint(case):
    case.rebind(challenge=bytes(32))


@breaks("evidence.role")
def evidence_of_a_gateway(case):
    case.rebind(role="gateway")


@breaks("evidence.role")
def settings_of_a_gateway(case):
    world = case.world
    settings = replace(security_settings("kms"), role="gateway")
    case.first_constitution(kms=replace(world.constitution.kms, settings=(settings.digest(),)))
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.subject")
def evidence_under_another_constitution(case):
    case.rebind(subject=bytes(32))


@breaks("evidence.keys")
def keys_exchanged_on_the_way(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, keys=replace(shown.keys, wrap=Node().keys.wrap)))


@breaks("evidence.gpu")
def gpu_evidence_that_was_not_bound(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, gpu=(GpuEvidence(report=b"report", chain=b"chain"),)))


@breaks("evidence.gpu")
def bound_gpu_evidence_that_is_not_there(case):
    case.rebind(gpu=bytes(32))


@breaks("evidence.settings-digest")
def settings_shown_that_are_not_in_force(case):
    note, shown = case.evidence()
    case.show(note, replace(shown, settings=replace(shown.settings, values={"challenge_seconds": 61})))


@breaks("evidence.settings")
def genuine_kms_code_started_with_other_settings(case):
    world = case.world
    settings = replace(security_settings("kms"), values={"challenge_seconds": 86_400})
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.unsafe")
def an_exception_in_force_that_the_node_does_not_claim(case):
    world = case.world
    settings = replace(security_settings("kms"), unsafe=())
    case.first_constitution(kms=replace(world.constitution.kms, settings=(settings.digest(),)))
    note, shown = case.evidence()
    binding = replace(shown.binding, settings=settings.digest())
    case.show(note, sealed_evidence(world.parties.platform, binding, settings, world.kms))


@breaks("evidence.platform-measurement")
def another_platform_below_the_same_code(case):
    note, shown = case.evidence()
    report = signed_report(case.world.parties.platform, shown.binding.report_data(), platform_measurement=bytes(48))
    case.show(note, replace(shown, report=report))


@breaks("evidence.workload")
def one_byte_changed_in_one_dependency(case):
    note, shown = case.evidence()
    changed = hashlib.sha384(b"workload of these testt").digest()
    report = signed_report(case.world.parties.platform, shown.binding.report_data(), workload=changed)
    case.show(note, replace(shown, report=report))


@pytest.mark.parametrize(("check", "row"), ROWS.parameters)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    require_refused_by(check, row)
