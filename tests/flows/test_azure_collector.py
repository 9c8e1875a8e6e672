"""A real TPM 2.0 (swtpm) stands in for Azure's vTPM: what its collector makes of it is accepted as Azure's evidence."""

import pytest
from tests.doubles.azure_vm import azure_vm, kernel, report_of, set_up
from tests.doubles.software_tpm import MISSING, WHY_NOT, software_tpm
from tests.doubles.tee_reports import CHAIN, CHIP, ENDORSED

from cloister.attest.azure_vm import appraise_azure_snp, examine_azure_snp
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.workload_event import TPM_REGISTER, register_value
from cloister.tee.collectors.azure import AzureVm, open_azure
from cloister.tee.collectors.detected import open_collector
from cloister.tee.collectors.machine import Machine
from cloister.testing.world import NOON

pytestmark = pytest.mark.skipif(bool(MISSING), reason=WHY_NOT)
WORKLOAD = b"w" * 48


@pytest.fixture(scope="module")
def vtpm(tmp_path_factory):
    with software_tpm(tmp_path_factory.mktemp("vtpm")) as tpm:
        set_up(tpm, report_of(CHIP), WORKLOAD)
        yield tpm


def test_a_real_quote_with_all_pcrs_is_accepted_as_an_azure_vms(vtpm):
    challenge = bytes(range(32))
    with azure_vm(vtpm, CHAIN) as machine:
        collected = open_azure(machine).collect(challenge, challenge=challenge)
    evidence = parse_azure_evidence(collected.report)
    chain = SnpEndorsements((evidence.vcek or b"", *(one.data for one in collected.endorsements)), ENDORSED.revocations)
    authentic = examine_azure_snp(evidence, chain, roots=CHIP.roots, at=NOON, unsafe=(), seen=SEEN_NOTHING).require()
    pcrs: dict[int, tuple[bytes, ...]] = {TPM_REGISTER: (register_value(WORKLOAD, "sha256"),)}
    policy = AzurePolicy(
        vm_configuration={"secure-boot": True}, tpm=TpmPolicy(bank="sha256", pcrs=pcrs), expressions=()
    )
    assert appraise_azure_snp(authentic, CHIP.policy(), policy, nonce=challenge).failed == []
    assert appraise_azure_snp(authentic, CHIP.policy(), policy, nonce=bytes(32)).failed == ["tpm.nonce"]


def test_the_machine_is_found_to_be_an_azure_vm(vtpm):
    found = open_collector(Machine(calls=kernel(vtpm)))
    assert (type(found), found.platform) == (AzureVm, "azure-snp")
