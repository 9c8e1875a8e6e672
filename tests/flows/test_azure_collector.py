"""A real TPM 2.0 (swtpm) stands in for Azure's vTPM: what its collector makes of it is accepted as Azure's evidence."""

import base64
from dataclasses import replace

import pytest
from tests.doubles.device_kernel import DeviceKernel, loopback
from tests.doubles.metadata_server import metadata_server, told
from tests.doubles.software_tpm import MISSING, WHY_NOT, software_tpm
from tests.doubles.tee_reports import CHIP, ENDORSED

from cloister.attest.azure_vm import appraise_azure_snp, examine_azure_snp
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.tpm_policy import TpmPolicy
from cloister.formats.tpm_quote import parse_tpm_public
from cloister.formats.workload_event import TPM_REGISTER, event_digest, register_value
from cloister.tee.collectors.azure import AzureVm, open_azure
from cloister.tee.collectors.detected import open_collector
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.testing.azure_hardware import hcl_report, report_data_of, runtime_data
from cloister.testing.world import NOON

pytestmark = pytest.mark.skipif(bool(MISSING), reason=WHY_NOT)
WORKLOAD = b"w" * 48
ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"


@pytest.fixture(scope="module")
def vtpm(tmp_path_factory):
    """Set up as the paravisor does: a key, the report that names it, and a workload's event in PCR 13."""
    with software_tpm(tmp_path_factory.mktemp("vtpm")) as tpm:
        tpm.run("tpm2_createprimary", "-Q", "-C", "e", "-G", "rsa2048:rsassa-sha256:null", "-a", ATTRIBUTES, "-c", "ak")
        tpm.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "ak", "0x81000003")
        tpm.run("tpm2_readpublic", "-Q", "-c", "ak", "-f", "tpmt", "-o", "ak.pub")
        tpm.run("tpm2_flushcontext", "-Q", "-t")
        tpm.run("tpm2_pcrextend", f"{TPM_REGISTER}:sha256={event_digest(WORKLOAD, 'sha256').hex()}")
        (tpm.folder / "hcl").write_bytes(report_of(tpm.read("ak.pub")))
        attributes = "ownerread|authread|ownerwrite|authwrite"
        tpm.run("tpm2_nvdefine", "-Q", "-C", "o", "-s", "2048", "-a", attributes, "0x01400001")
        tpm.run("tpm2_nvwrite", "-Q", "-C", "o", "-i", "hcl", "0x01400001")
        yield tpm


def report_of(public):
    rsa = parse_tpm_public(public).rsa
    assert rsa is not None
    modulus = base64.urlsafe_b64encode(rsa[0].to_bytes(256, "big")).rstrip(b"=").decode()
    runtime = runtime_data(keys=[{"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": modulus}])
    return hcl_report(CHIP.sign(replace(CHIP.report(), report_data=report_data_of(runtime))), runtime, size=2048)


def kernel(tpm):
    return DeviceKernel({"/dev/tpmrm0": loopback(tpm.port)})


def test_a_real_quote_with_all_pcrs_is_accepted_as_an_azure_vms(vtpm):
    challenge = bytes(range(32))
    with metadata_server({"/metadata/THIM/amd/certification": told()}) as (port, _):
        machine = Machine(calls=kernel(vtpm), metadata=MetadataService("127.0.0.1", port))
        collected = open_azure(machine).collect(challenge, challenge=challenge)
    evidence = parse_azure_evidence(collected.report)
    chain = SnpEndorsements((evidence.vcek or b"", *(one.data for one in collected.endorsements)), ENDORSED.revocations)
    authentic = examine_azure_snp(evidence, chain, roots=CHIP.roots, at=NOON, unsafe=(), seen=SEEN_NOTHING).require()
    pcrs: dict[int, tuple[bytes, ...]] = {TPM_REGISTER: (register_value(WORKLOAD, "sha256"),)}
    policy = AzurePolicy(vm_configuration={"secure-boot": True}, tpm=TpmPolicy(bank="sha256", pcrs=pcrs))
    assert appraise_azure_snp(authentic, CHIP.policy(), policy, nonce=challenge).failed == []
    assert appraise_azure_snp(authentic, CHIP.policy(), policy, nonce=bytes(32)).failed == ["tpm.nonce"]


def test_the_machine_is_found_to_be_an_azure_vm(vtpm):
    found = open_collector(Machine(calls=kernel(vtpm)))
    assert (type(found), found.platform) == (AzureVm, "azure-snp")
