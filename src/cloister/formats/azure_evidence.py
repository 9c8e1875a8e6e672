"""Evidence of an Azure confidential VM as Confidential Containers' agents send it: JSON, versions 1 and 2.

The HCL report, a quote of the vTPM by the key that the report names, the PCRs of its SHA-256 bank, and beside them the
chip's VCEK (SNP) or a TD quote (TDX). Binary members are base64url without padding, or lower-case hex; one spelling.
Those agents send whole buffers, longer than what is in them: a collector cuts them first.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import hcl_report, intel_quote
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import HclReport, base64url, parse_hcl_report
from cloister.formats.runtime_log import lower_hex
from cloister.formats.tpm_quote import RSASSA, TpmQuote, TpmSignature, parse_tpm_quote

MAXIMUM_AZURE: Final = 64 * 1024  # bytes
_PCRS: Final = 24


@dataclass(frozen=True, slots=True)
class AzureEvidence:
    """Nothing in it is trusted yet."""

    hcl: HclReport
    quote: TpmQuote
    signature: TpmSignature  # RSASSA with SHA-256, as Azure's vTPM signs
    pcrs: dict[int, dict[int, bytes]]  # by TPM_ALG_ID, then by PCR
    vcek: bytes | None  # DER
    td_quote: bytes | None


class _Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signature: str
    message: str
    pcrs: Annotated[tuple[str, ...], msgspec.Meta(min_length=_PCRS, max_length=_PCRS)]


class _Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    version: Literal[1, 2]
    hcl_report: str
    tpm_quote: _Quote
    vcek: str | None = None
    td_quote: str | None = None


def encode_azure_evidence(
    hcl_report: bytes,
    quote: bytes,
    signature: bytes,
    pcrs: Sequence[bytes],
    *,
    vcek: bytes | None = None,
    td_quote: bytes | None = None,
) -> bytes:
    """Evidence in JSON, of version 1, from its parts.

    Args:
        hcl_report: cut at its declared length.
        quote: a TPMS_ATTEST.
        signature: the RSA signature alone.
        pcrs: the SHA-256 bank, 24 of 32 bytes.
        vcek: DER, of a VM on SNP.
        td_quote: of a VM on TDX.
    """
    told = _Evidence(
        version=1,
        hcl_report=_base64url(hcl_report),
        tpm_quote=_Quote(signature.hex(), quote.hex(), tuple(value.hex() for value in pcrs)),
        vcek=None if vcek is None else _base64url(vcek),
        td_quote=None if td_quote is None else _base64url(td_quote),
    )
    return msgspec.json.encode(told)


def parse_azure_evidence(data: bytes) -> AzureEvidence:
    """Parse evidence, at most 64 KiB.

    Raises:
        TooLarge, MalformedInput: not such evidence, or of neither SNP nor TDX.
    """
    return _parse(data, lambda report: report, lambda quote: quote)


def parse_azure_buffers(data: bytes) -> AzureEvidence:
    """The same as agents send it: report and TD quote are cut at the length that each declares, as collectors cut them.

    Raises:
        TooLarge, MalformedInput: as `parse_azure_evidence`.
    """
    return _parse(
        data,
        lambda report: report[: hcl_report.declared_length(report)],
        lambda quote: quote[: intel_quote.declared_length(quote)],
    )


def _parse(data: bytes, cut_report: Callable[[bytes], bytes], cut_quote: Callable[[bytes], bytes]) -> AzureEvidence:
    if len(data) > MAXIMUM_AZURE:
        raise TooLarge(f"evidence of {len(data)} bytes, the cap is {MAXIMUM_AZURE}")
    try:
        told = msgspec.json.decode(data, type=_Evidence)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedInput(f"not evidence of an Azure confidential VM: {error}") from error
    hcl = parse_hcl_report(cut_report(base64url(told.hcl_report)))
    if (told.vcek is not None) != (hcl.kind == "snp") or (told.td_quote is not None and hcl.kind == "snp"):
        raise MalformedInput("beside a report of SNP stands a VCEK, beside one of TDX a TD quote or nothing")
    values = {index: lower_hex(value) for index, value in enumerate(told.tpm_quote.pcrs)}
    return AzureEvidence(
        hcl,
        parse_tpm_quote(lower_hex(told.tpm_quote.message)),
        TpmSignature(RSASSA, SHA256, (lower_hex(told.tpm_quote.signature),)),
        {SHA256: values},
        None if told.vcek is None else base64url(told.vcek),
        None if told.td_quote is None else cut_quote(base64url(told.td_quote)),
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
