"""Attestation results of Microsoft Azure Attestation, by their published claims.

"Claim sets" and "Azure Attestation EAT profile for Intel TDX" in Microsoft's documentation name them; those read here
are of hardware whose report data the guest chose (`sevsnpvm`, `tdxvm`). Claims that are not read are passed over: they
may be asked for in expressions. Nothing in it is trusted yet.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.canonical import Seconds

Hex48 = Annotated[str, msgspec.Meta(min_length=96, max_length=96, pattern=r"^[0-9a-f]{96}\Z")]
Hex64 = Annotated[str, msgspec.Meta(min_length=128, max_length=128, pattern=r"^[0-9a-f]{128}\Z")]
Hex8 = Annotated[str, msgspec.Meta(min_length=16, max_length=16, pattern=r"^[0-9a-f]{16}\Z")]
_TYPE = "x-ms-attestation-type"


class _Token(msgspec.Struct, frozen=True, kw_only=True, tag_field=_TYPE):
    """What every token says of itself."""

    iss: Annotated[str, msgspec.Meta(max_length=256)]
    iat: Seconds
    nbf: Seconds
    exp: Seconds


class AzureSnpToken(_Token, frozen=True, kw_only=True, tag="sevsnpvm"):
    """Of an SEV-SNP guest's report."""

    report_data: Hex64 = msgspec.field(name="x-ms-sevsnpvm-reportdata")
    launch_measurement: Hex48 = msgspec.field(name="x-ms-sevsnpvm-launchmeasurement")
    debuggable: bool = msgspec.field(name="x-ms-sevsnpvm-is-debuggable")
    migratable: bool = msgspec.field(name="x-ms-sevsnpvm-migration-allowed")
    vmpl: Annotated[int, msgspec.Meta(ge=0, le=3)] = msgspec.field(name="x-ms-sevsnpvm-vmpl")


class AzureTdxToken(_Token, frozen=True, kw_only=True, tag="tdxvm"):
    """Of a trust domain's quote."""

    report_data: Hex64 = msgspec.field(name="tdx_report_data")
    attributes: Hex8 = msgspec.field(name="tdx_td_attributes")  # as the quote has them: little-endian
    mr_td: Hex48 = msgspec.field(name="tdx_mrtd")
    rtmr0: Hex48 = msgspec.field(name="tdx_rtmr0")
    rtmr1: Hex48 = msgspec.field(name="tdx_rtmr1")
    rtmr2: Hex48 = msgspec.field(name="tdx_rtmr2")
    rtmr3: Hex48 = msgspec.field(name="tdx_rtmr3")
    mr_config_id: Hex48 = msgspec.field(name="tdx_mrconfigid")
    mr_owner: Hex48 = msgspec.field(name="tdx_mrowner")
    mr_owner_config: Hex48 = msgspec.field(name="tdx_mrownerconfig")


AzureToken = AzureSnpToken | AzureTdxToken


def read_azure_token(members: dict[str, Any]) -> AzureToken:
    """The claims that are judged, of a payload that `formats.jwt` read.

    Raises:
        MalformedInput: one is missing or of another form, or the token is of hardware that is not taken.
    """
    if members.get(_TYPE) == "azurevm":
        raise MalformedInput(
            "a token of type azurevm tells which PCRs were attested and not their values, and so no workload: "
            "have the hardware's own report attested (sevsnpvm, tdxvm), or send the raw evidence"
        )
    try:
        read: AzureToken = msgspec.convert(members, AzureToken, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedInput(f"not a token of Azure Attestation: {error}") from error
    return read
