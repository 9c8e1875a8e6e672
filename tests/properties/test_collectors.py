"""Whatever a host, a vTPM or a driver answers: a collector gives what was asked for, or says what is wrong."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.metadata_server import told
from tests.doubles.nsm_device import NsmDevice
from tests.doubles.sev_guest_device import SevGuestDevice
from tests.doubles.tee_reports import TABLE, snp_report, td_quote
from tests.doubles.tpm_device import TpmDevice
from tests.doubles.tsm_kernel import TsmKernel
from tests.unit.tee.test_azure import INDEX, SNP_HCL

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.azure_metadata import parse_chip_certificates, parse_td_quote_answer
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nsm_message import NsmError, parse_attestation_answer
from cloister.formats.snp_report import parse_snp_report
from cloister.tee.collectors.azure import open_azure
from cloister.tee.collectors.collected import HardwarePlatform, NoTee, TeeFault, TeeUnavailable
from cloister.tee.collectors.configfs_tsm import ConfigfsTsm
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.metadata_service import MetadataService
from cloister.tee.collectors.nitro import open_nitro
from cloister.tee.collectors.sev_guest import open_sev_guest

DATA, CHALLENGE = bytes(range(64)), b"c" * 32
SAID = (NoTee, TeeUnavailable, TeeFault)
WAITS: list[float] = []


@st.composite
def mutants(draw, of):
    """Up to four places of a message cut, changed or lengthened."""
    data = bytearray(of)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
    return bytes(data)


def sleepless(kernel):
    return Machine(calls=kernel, ioctl=getattr(kernel, "ioctl", None) or Machine().ioctl, sleep=WAITS.append)


@given(mutants(TABLE))
def test_no_table_of_a_hosts_keeps_a_report_from_being_collected(table):
    kernel = TsmKernel(lambda data, level: (snp_report(data, level)[0], table))
    collected = ConfigfsTsm(sleepless(kernel), "snp").collect(DATA, challenge=CHALLENGE)
    assert parse_snp_report(collected.report).report.report_data == DATA
    device = DeviceKernel({"/dev/sev-guest": lambda: SevGuestDevice(table=table)})
    collected = open_sev_guest(sleepless(device)).collect(DATA, challenge=CHALLENGE)
    assert parse_snp_report(collected.report).report.report_data == DATA


@given(mutants(snp_report(DATA)[0]), mutants(td_quote(DATA)[0]))
def test_what_is_collected_from_configfs_carries_what_was_asked_for_or_is_refused(report, quote):
    cases: tuple[tuple[HardwarePlatform, str, bytes], ...]
    cases = (("snp", "sev_guest", report), ("tdx", "tdx_guest", quote))
    for platform, provider, blob in cases:
        kernel = TsmKernel(lambda *_, blob=blob: (blob, b""), provider=provider)
        try:
            collected = ConfigfsTsm(sleepless(kernel), platform).collect(DATA, challenge=CHALLENGE)
        except TeeFault:
            continue
        finally:
            assert kernel.entries == {}
        assert DATA in collected.report


@dataclass
class Liar(TpmDevice):
    """Changes one of its answers."""

    turn: int = 0
    change: bytes = b""
    at: int = 0

    def write(self, command):
        written = super().write(command)
        if len(self.commands) == self.turn:
            at = self.at % (len(self.answer) + 1)
            self.answer = self.answer[:at] + self.change + self.answer[at + len(self.change) :]
        return written


@given(st.integers(1, 16), st.binary(min_size=1, max_size=4), st.integers(0, 600))
def test_no_answer_of_a_tpm_yields_a_quote_of_something_else(turn, change, at):
    device = Liar(nv={INDEX: SNP_HCL}, turn=turn, change=change, at=at)
    machine = Machine(calls=DeviceKernel({"/dev/tpmrm0": lambda: device}), sleep=WAITS.append, metadata=Metadata())
    try:
        collected = open_azure(machine).collect(CHALLENGE, challenge=CHALLENGE)
    except SAID:
        return
    assert parse_azure_evidence(collected.report).quote.extra_data == CHALLENGE


class Metadata(MetadataService):
    def fetch(self, path, body=None):
        return TOLD


TOLD = told()


@given(mutants(TOLD), mutants(b'{"quote": "AAAA"}'))
def test_any_answer_of_the_metadata_service_is_read_or_refused(certificates, quote):
    for parse, data in ((parse_chip_certificates, certificates), (parse_td_quote_answer, quote)):
        try:
            parse(data)
        except (MalformedInput, TooLarge):
            continue


@given(st.data())
def test_any_answer_of_a_nitro_module_is_a_document_or_refused(data):
    device = NsmDevice()
    kernel = DeviceKernel({"/dev/nsm": lambda: device})
    document = open_nitro(sleepless(kernel)).collect(DATA, challenge=CHALLENGE).report
    assert parse_nitro_document(document).document.nonce == CHALLENGE
    answer = data.draw(mutants(b"\xa1\x6bAttestation\xa1\x68document\x44sign"))
    try:
        assert parse_attestation_answer(answer)
    except (MalformedInput, TooLarge, NsmError):
        return
