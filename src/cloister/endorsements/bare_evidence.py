"""Evidence as files have it, a whole one of ours or a platform's own alone, in the shape that needs are read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.attest.nvidia.device import DeviceEvidence
from cloister.endorsements.needs import Device, EvidenceLike
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import MAXIMUM_COMPLETED, parse_evidence
from cloister.formats.intel_quote import TEE_SGX, declared_length, parse_quote
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.snp_report import parse_snp_report
from cloister.formats.tsm_report import parse_tsm_report


@dataclass(frozen=True, slots=True)
class BareEvidence:
    """What is looked at of evidence; nothing that binds anything is in it."""

    platform: str
    report: bytes
    endorsements: Sequence[Endorsement] = ()
    gpu: Sequence[Device] = ()


def read_bare_evidence(data: bytes) -> EvidenceLike:
    """Evidence of any of these formats, each strict, so that the first that takes it is it.

    Our own; SNP reports, Intel's quotes (a TD's whole buffer, too), both also in configfs-tsm's envelope; evidence of
    Azure's VMs, Nitro documents, NVIDIA's envelope.

    Raises:
        MalformedInput: none of them.
    """
    for read in _FORMATS:
        try:
            return read(data)
        except (MalformedInput, TooLarge):
            continue
    raise MalformedInput(
        "not evidence that endorsements can be told for: a SEV-SNP report, a TDX or SGX quote, Azure's or NVIDIA's"
        " JSON, a Nitro document, or Cloister's evidence; cloister evidence show says more"
    )


def _snp(data: bytes) -> EvidenceLike:
    parse_snp_report(data)
    return BareEvidence("snp", data)


def _quote(data: bytes) -> EvidenceLike:
    """A TD reads its quote in a buffer that is longer, with zeros behind it."""
    length = declared_length(data)
    if any(data[length:]):
        raise MalformedInput("something follows the quote")
    quote = parse_quote(data[:length])
    return BareEvidence("sgx" if quote.header.tee_type == TEE_SGX else "tdx", data[:length])


def _tsm(data: bytes) -> EvidenceLike:
    report = parse_tsm_report(data)
    return (_snp if report.provider.strip() == "sev_guest" else _quote)(report.outblob)


def _azure(data: bytes) -> EvidenceLike:
    return BareEvidence(f"azure-{parse_azure_buffers(data).hcl.kind}", data)


def _nitro(data: bytes) -> EvidenceLike:
    parse_nitro_document(data)
    return BareEvidence("nitro", data)


def _nvidia(data: bytes) -> EvidenceLike:
    devices = parse_nvidia_envelope(data)
    return BareEvidence("", b"", gpu=[DeviceEvidence(one.report, one.chain) for one in devices])


def _own(data: bytes) -> EvidenceLike:
    return parse_evidence(data, limit=MAXIMUM_COMPLETED)


_FORMATS: Final[Sequence[Callable[[bytes], EvidenceLike]]] = (_snp, _quote, _azure, _nvidia, _tsm, _own, _nitro)
