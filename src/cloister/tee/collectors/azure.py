"""An Azure confidential VM: the paravisor's report out of the vTPM's NV memory, and a fresh quote by the vTPM.

The paravisor owns REPORT_DATA, which vouches for the vTPM's key (`attest.azure`); the qualifying data of the quote is
what answers the challenge. Nothing is written to NV memory: the report is the one of the boot.
Source: "Azure confidential VM guest attestation", learn.microsoft.com: NV index 0x01400001, AK at 0x81000003.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import encode_azure_evidence
from cloister.formats.azure_metadata import encode_td_report, parse_chip_certificates, parse_td_quote_answer
from cloister.formats.endorsements import Endorsement
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import AK_NAME, HclReport, declared_length, parse_hcl_report, parse_runtime_data
from cloister.formats.tpm_quote import RSASSA, parse_tpm_public, parse_tpm_signature
from cloister.tee.collectors.collected import Collected, HardwarePlatform, NoTee, TeeFault, require_room
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.tdx_evidence import quote_in
from cloister.tee.collectors.tpm import DEVICE, Quoted, Tpm, open_tpm

HCL_INDEX: Final = 0x01400001
ATTESTATION_KEY: Final = 0x81000003
CERTIFICATES: Final = "/metadata/THIM/amd/certification"
TD_QUOTE: Final = "/acc/tdquote"
_MAXIMUM_INDEX: Final = 8192  # bytes


@dataclass(frozen=True, slots=True)
class AzureVm:
    """The collector of Azure's confidential VMs; `open_azure` says of which."""

    machine: Machine
    platform: HardwarePlatform  # azure-snp or azure-tdx
    room: Literal[32] = 32  # a TPM2B_DATA is at most as long as the TPM's longest hash, and Azure's ends at SHA-384

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the quote has one field
        """As `Collector`."""
        require_room(report_data, self.room)
        with open_tpm(self.machine) as tpm:
            data, report = _hcl_report(tpm)
            _require_key(tpm, report)
            quoted = tpm.quote(ATTESTATION_KEY, report_data)
        if report.kind == "snp":
            return self._with_certificates(data, quoted)
        return self._with_td_quote(data, report, quoted)

    def _with_certificates(self, hcl: bytes, quoted: Quoted) -> Collected:
        try:
            told = parse_chip_certificates(self.machine.metadata.fetch(CERTIFICATES))
        except (MalformedInput, TooLarge) as error:
            raise TeeFault(f"Azure's metadata service says of the chip's certificates what is none: {error}") from error
        evidence = encode_azure_evidence(hcl, quoted.attest, _rsa(quoted), quoted.pcrs, vcek=told.vcek)
        above = (Endorsement(kind="amd-certificates", data=one) for one in told.above)
        return Collected(evidence, tuple(above))

    def _with_td_quote(self, hcl: bytes, report: HclReport, quoted: Quoted) -> Collected:
        """A TDREPORT proves nothing from afar: the host's quoting enclave has to quote it."""
        try:
            answer = parse_td_quote_answer(self.machine.metadata.fetch(TD_QUOTE, encode_td_report(report.hardware)))
        except (MalformedInput, TooLarge) as error:
            raise TeeFault(f"Azure's metadata service answers a TDREPORT with what is no quote: {error}") from error
        td_quote = quote_in(answer)
        return Collected(encode_azure_evidence(hcl, quoted.attest, _rsa(quoted), quoted.pcrs, td_quote=td_quote))


def open_azure(machine: Machine) -> AzureVm:
    """The collector, if this machine is an Azure confidential VM.

    Raises:
        NoTee: it is none.
        TeeDenied, TeeUnavailable, TeeFault: its vTPM cannot be asked.
    """
    with open_tpm(machine) as tpm:
        _, report = _hcl_report(tpm)
    return AzureVm(machine, "azure-snp" if report.kind == "snp" else "azure-tdx")


def _hcl_report(tpm: Tpm) -> tuple[bytes, HclReport]:
    """The report, cut at the length that it declares, and parsed."""
    index = tpm.nv(HCL_INDEX, limit=_MAXIMUM_INDEX)
    if index is None:
        raise NoTee(f"the TPM has no NV index {HCL_INDEX:#010x}, in which Azure's paravisor keeps its report")
    try:
        data = index[: declared_length(index)]
        return data, parse_hcl_report(data)
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"NV index {HCL_INDEX:#010x} holds no report of Azure's paravisor: {error}") from error


def _require_key(tpm: Tpm, report: HclReport) -> None:
    """Hold that the vTPM's key is the one that the hardware vouches for: a quote by another is worth nothing.

    Raises:
        TeeFault: it is not.
    """
    try:
        named = [key.numbers() for key in parse_runtime_data(report.runtime_data).keys if key.kid == AK_NAME]
        found = parse_tpm_public(tpm.public_area(ATTESTATION_KEY)).rsa
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"the vTPM's attestation key cannot be read: {error}") from error
    if found is None or named != [found]:
        raise TeeFault(f"the key at {ATTESTATION_KEY:#010x} is not {AK_NAME} of the paravisor's report: restart the VM")


def _rsa(quoted: Quoted) -> bytes:
    """The RSA signature alone, as Azure's evidence has it.

    Raises:
        TeeFault: the key signs in another way than Azure's.
    """
    try:
        signature = parse_tpm_signature(quoted.signature)
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"the vTPM's signature cannot be read: {error}") from error
    if (signature.scheme, signature.hash) != (RSASSA, SHA256):
        raise TeeFault("the vTPM's key signs by another scheme than RSASSA with SHA-256")
    return signature.parts[0]


LOOKS_FOR: Final = f"Azure's vTPM: NV index {HCL_INDEX:#010x} of /{DEVICE}"
