"""Azure's confidential VMs: a vTPM that keeps the paravisor's report and quotes, and a metadata service beside it."""

import base64
import json
from dataclasses import replace

import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.metadata_server import metadata_server, pem, told
from tests.doubles.tee_reports import CHAIN, CHIP, ENDORSED, TDX
from tests.doubles.tpm_device import READABLE, TpmDevice

from cloister.attest.azure_vm import examine_azure_snp, examine_azure_tdx
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.event_log import SHA256
from cloister.tee.collectors.azure import open_azure
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.testing.azure_hardware import AZURE_TPM, PCRS, hcl_report, report_data_of, runtime_data
from cloister.testing.tdx_hardware import TD, td_report
from cloister.testing.tpm_hardware import MadeTpm
from cloister.testing.world import NOON

DATA, CHALLENGE = bytes(range(32)), b"c" * 32
RUNTIME = runtime_data()
SNP_HCL = hcl_report(CHIP.sign(replace(CHIP.report(), report_data=report_data_of(RUNTIME))), RUNTIME, size=2600)
TD_BODY = replace(TD, report_data=report_data_of(RUNTIME))
INDEX = 0x01400001
THIM = "/metadata/THIM/amd/certification"
TD_QUOTE = "/acc/tdquote"


def quoted(body):
    """As the host's quoting enclave answers, in a buffer that is longer than its quote."""
    assert base64.urlsafe_b64decode(json.loads(body)["report"] + "==") == td_report(TD_BODY)
    return json.dumps({"quote": base64.urlsafe_b64encode(TDX.quote(TD_BODY) + bytes(99)).decode()}).encode()


ANSWERS = {THIM: told(), TD_QUOTE: quoted}


def machine_with(device, waits=None, *, service=None, **changes):
    kernel = DeviceKernel({"/dev/tpmrm0": lambda: device}, **changes)
    sleep = [].append if waits is None else waits.append
    return Machine(calls=kernel, sleep=sleep, metadata=service or MetadataService())


@pytest.fixture(scope="module")
def service():
    with metadata_server(ANSWERS) as (port, _):
        yield MetadataService("127.0.0.1", port)


def snp_device(**changes):
    return TpmDevice(**{"nv": {INDEX: SNP_HCL}, **changes})


def collected(service, device, waits=None):
    return open_azure(machine_with(device, waits, service=service)).collect(DATA, challenge=CHALLENGE)


def test_a_vm_on_snp_is_accepted_with_its_quote_and_the_certificates_that_the_host_tells(service):
    device = snp_device()
    found = collected(service, device)
    evidence = parse_azure_evidence(found.report)
    assert [one.kind for one in found.endorsements] == ["amd-certificates"] * 2
    chain = (evidence.vcek or b"", *(one.data for one in found.endorsements))
    endorsements = SnpEndorsements(chain, ENDORSED.revocations)
    examined = examine_azure_snp(evidence, endorsements, roots=CHIP.roots, at=NOON, unsafe=(), seen=SEEN_NOTHING)
    quote = examined.require().azure.quote
    assert (quote.extra_data, quote.pcrs) == (DATA, {SHA256: PCRS})


def test_a_vm_on_tdx_is_accepted_with_a_quote_of_its_tdreport(service):
    device = TpmDevice(nv={INDEX: hcl_report(td_report(TD_BODY), RUNTIME, tdx=True, size=2600)})
    vm = open_azure(machine_with(device, service=service))
    found = vm.collect(DATA, challenge=CHALLENGE)
    assert (vm.platform, vm.room, found.endorsements) == ("azure-tdx", 32, ())
    evidence = parse_azure_evidence(found.report)
    examined = examine_azure_tdx(evidence, TDX.collateral(), roots=TDX.roots, at=NOON, seen=SEEN_NOTHING)
    assert examined.require().azure.quote.extra_data == DATA


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_report_data_that_a_quote_has_no_room_for_is_a_callers_mistake(service, size):
    with pytest.raises(ValueError, match="this platform's evidence carries 32"):
        open_azure(machine_with(snp_device(), service=service)).collect(bytes(size), challenge=CHALLENGE)


def test_answers_in_pieces_and_tpms_that_ask_for_patience_change_nothing(service):
    waits: list[float] = []
    device = snp_device(piece=100, faults={0x158: [0x922, 0x90A], 0x14E: [0x908, 0x920]})
    assert parse_azure_evidence(collected(service, device, waits).report).quote.extra_data == DATA
    assert waits == [0.1, 0.2, 0.1, 0.2]


def test_a_tpm_that_asks_for_patience_without_end_is_given_up(service):
    waits: list[float] = []
    with pytest.raises(TeeUnavailable, match="code 0x922"):
        collected(service, snp_device(faults={0x158: [0x922] * 9}), waits)
    assert len(waits) == 4


def test_a_pcr_that_changes_between_reading_and_quote_is_read_anew(service):
    device = snp_device(changed={9: [b"\1" * 32, b"\2" * 32]})
    evidence = parse_azure_evidence(collected(service, device).report)
    assert evidence.pcrs[SHA256][9] == b"\2" * 32
    assert device.commands.count(0x158) == 3


def test_pcrs_that_never_rest_are_given_up(service):
    device = snp_device(changed={9: [bytes([number]) * 32 for number in range(9)]})
    with pytest.raises(TeeUnavailable, match="change faster than they can be read"):
        collected(service, device)


OTHER_TPM = MadeTpm({SHA256: PCRS}, seed="another", scheme=AZURE_TPM.scheme)


class Forger(TpmDevice):
    """Answers with another asker's quote."""

    def _quote(self, tag, body):
        return super()._quote(tag, body[:19] + bytes(32) + body[51:])


@pytest.mark.parametrize(
    ("device", "error", "named"),
    [
        (TpmDevice(), NoTee, "no NV index 0x01400001"),
        (snp_device(nv={INDEX: bytes(2600)}), TeeFault, "holds no report of Azure's paravisor"),
        (snp_device(nv={INDEX: SNP_HCL[:900]}), TeeFault, r"in an NV index of 900"),
        (snp_device(nv={INDEX: bytes(9000)}), TeeFault, "has 9000 bytes, more than the 8192"),
        (snp_device(attributes=1 << 19), TeeFault, "read under a policy only"),
        (snp_device(faults={0x169: [0x921]}), TeeUnavailable, "code 0x921"),
        (snp_device(keys=()), TeeFault, "the key at 0x81000003: there is none"),
        (snp_device(tpm=OTHER_TPM), TeeFault, "is not HCLAkPub of the paravisor's report"),
        (snp_device(tpm=replace(AZURE_TPM, pcrs={SHA256: {}})), TeeFault, "no PCRs in the SHA-256 bank"),
        (snp_device(tpm=replace(AZURE_TPM, scheme=0x16)), TeeFault, "another scheme than RSASSA"),
        (Forger(nv={INDEX: SNP_HCL}), TeeFault, "it answers somebody else"),
    ],
    ids=["no-index", "zeros", "cut", "large", "policy", "locked", "no-key", "other-key", "no-bank", "scheme", "forger"],
)
def test_what_is_no_azure_vtpm_is_named(service, device, error, named):
    with pytest.raises(error, match=named):
        collected(service, device)


def test_an_index_that_only_its_own_password_reads_is_read_by_it(service):
    assert collected(service, snp_device(attributes=READABLE & ~(1 << 17))).report


def test_a_machine_without_tpm_is_none_and_one_with_a_locked_device_says_so():
    with pytest.raises(NoTee, match="there is no TPM"):
        open_azure(Machine(calls=DeviceKernel()))
    with pytest.raises(TeeDenied, match="Only root"):
        open_azure(machine_with(snp_device(), denied=("/dev/tpmrm0",)))


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({}, "answered 404: is this a confidential VM"),
        ({THIM: b"{}"}, "what is none"),
        ({THIM: b"[" * 9000}, "what is none"),
        ({THIM: told() + b" " * 70000}, "more than 65536 bytes"),
        ({THIM: told().replace(b"MII", b"M*I")}, "what is none"),
        ({THIM: json.dumps({"vcekCert": pem(CHAIN[0]) * 2, "certificateChain": ""}).encode()}, "2 certificates"),
    ],
    ids=["absent", "empty", "deep", "large", "base64", "two"],
)
def test_a_metadata_service_that_says_something_else_is_named(answers, named):
    with metadata_server(answers) as (port, _), pytest.raises(TeeFault, match=named):
        collected(MetadataService("127.0.0.1", port), snp_device())


def test_a_metadata_service_that_is_busy_is_asked_again_and_no_more_than_twice():
    waits: list[float] = []
    with metadata_server(ANSWERS, statuses=[429, 410]) as (port, asked):
        assert collected(MetadataService("127.0.0.1", port, sleep=waits.append), snp_device()).report
        assert ([path for _, path, _ in asked], waits) == ([THIM] * 3, [2.0, 2.0])
    with metadata_server(ANSWERS, statuses=[503] * 3) as (port, _), pytest.raises(TeeUnavailable, match="503, 3 times"):
        collected(MetadataService("127.0.0.1", port, sleep=waits.append), snp_device())


def test_a_metadata_service_that_drips_is_cut_off():
    with metadata_server(ANSWERS, drip=0.05) as (port, _), pytest.raises(TeeUnavailable, match="gave no answer"):
        collected(MetadataService("127.0.0.1", port, seconds=0.3), snp_device())


def test_no_metadata_service_is_said_with_what_may_stand_in_the_way():
    with metadata_server(ANSWERS) as (port, _):
        pass
    with pytest.raises(TeeUnavailable, match="without a proxy"):
        collected(MetadataService("127.0.0.1", port), snp_device())


def test_a_tdreport_that_comes_back_for_a_quote_is_refused():
    device = TpmDevice(nv={INDEX: hcl_report(td_report(TD_BODY), RUNTIME, tdx=True, size=2600)})
    answers = {TD_QUOTE: lambda body: json.dumps({"quote": json.loads(body)["report"]}).encode()}
    with (
        metadata_server(answers) as (port, _),
        pytest.raises(TeeFault, match="a TDREPORT, which only the same"),
    ):
        collected(MetadataService("127.0.0.1", port), device)
