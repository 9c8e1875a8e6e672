"""Evidence as files have it, a whole one of ours or a platform's own alone, in the shape that needs are read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from cloister.attest.nvidia.device import DeviceEvidence
from cloister.endorsements.needs import Device, EvidenceLike
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import MAXIMUM_COMPLETED, GpuEvidence, parse_evidence
from cloister.formats.intel_quote import TEE_SGX, declared_length, parse_quote
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.snp_certificate_table import CRL, parse_certificate_table
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

    Our own; what `cloister evidence collect` prints; SNP reports, Intel's quotes (a TD's whole buffer, too), both also
    in configfs-tsm's envelope; evidence of Azure's VMs, Nitro documents, NVIDIA's envelope.

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


class _Collected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `cloister evidence collect --json` prints, in Base64."""

    platform: str
    challenge: bytes
    report_data: bytes
    report: bytes
    endorsements: tuple[Endorsement, ...]
    gpus: tuple[GpuEvidence, ...]
    remarks: tuple[str, ...]


def _collected(data: bytes) -> EvidenceLike:
    try:
        found = msgspec.json.decode(data, type=_Collected)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not what was collected: {error}") from error
    return BareEvidence(found.platform, found.report, found.endorsements, found.gpus)


def _snp(data: bytes) -> BareEvidence:
    parse_snp_report(data)
    return BareEvidence("snp", data)


def _quote(data: bytes) -> BareEvidence:
    """A TD reads its quote in a buffer that is longer, with zeros behind it."""
    length = declared_length(data)
    if any(data[length:]):
        raise MalformedInput("something follows the quote")
    quote = parse_quote(data[:length])
    return BareEvidence("sgx" if quote.header.tee_type == TEE_SGX else "tdx", data[:length])


def _tsm(data: bytes) -> EvidenceLike:
    report = parse_tsm_report(data)
    if report.provider.strip() != "sev_guest":
        return _quote(report.outblob)
    return replace(_snp(report.outblob), endorsements=_of_table(report.auxblob or b""))


def _of_table(table: bytes) -> tuple[Endorsement, ...]:
    """What the host laid beside an SNP report: a VLEK comes in no other way. A table that is none brings nothing."""
    try:
        given = parse_certificate_table(table)
    except (MalformedInput, TooLarge):
        return ()
    found = [Endorsement(kind="amd-certificates", data=one) for one in given.chain() if one]
    if revocations := given.get(CRL):
        found.append(Endorsement(kind="amd-revocations", data=revocations))
    return tuple(found)


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


_FORMATS: Final[Sequence[Callable[[bytes], EvidenceLike]]] = (
    _snp,
    _quote,
    _azure,
    _nvidia,
    _tsm,
    _collected,
    _own,
    _nitro,
)
