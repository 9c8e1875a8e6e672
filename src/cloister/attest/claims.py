"""What appraised evidence says, by the names that expressions of policies use (docs/formats/expressions.md).

Names are those of `cloister evidence show`; bytes are lower-case hexadecimal digits, as policies have them. What the
evidence does not say is not there, so that an expression that names it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cloister.errors import MalformedInput
from cloister.formats.snp_report import PLATFORM_BITS, POLICY_BITS, SnpReport
from cloister.formats.snp_tcb import Product, Tcb
from cloister.formats.td_report import TdAttributes, TdReport

_SNP = ("version", "guest_svn", "vmpl", "author_key_en", "mask_chip_key", "launch_mit_vector", "current_mit_vector")
_SNP_BYTES = (
    *("family_id", "image_id", "report_data", "measurement", "host_data", "id_key_digest", "author_key_digest"),
    *("report_id", "report_id_ma", "chip_id"),
)
_DEPTH: Final = 8  # of a token's claims
_TD_BYTES = ("tee_tcb_svn", "mr_seam", "mr_signer_seam", "mr_td", "mr_config_id", "mr_owner", "mr_owner_config")


def snp_claims(report: SnpReport, product: Product, tcbs: Mapping[str, Tcb]) -> dict[str, Any]:
    """Of an SEV-SNP report; `tcbs` are its TCBs by their names."""
    abi_major, abi_minor = report.policy.abi
    policy = {name.lower(): report.policy.allows(name) for name in POLICY_BITS}
    return _said(
        {name: getattr(report, name) for name in (*_SNP, *_SNP_BYTES)}
        | {"product": str(product), "signing_key": report.signing_key.name}
        | {"policy": policy | {"abi_major": abi_major, "abi_minor": abi_minor}}
        | {"platform_info": {name.lower(): report.platform_info.has(name) for name in PLATFORM_BITS}}
        | {name: tcb.levels() for name, tcb in tcbs.items()}
        | {name: _version(getattr(report, name)) for name in ("current_firmware", "committed_firmware")}
    )


def td_claims(report: TdReport, platform: Mapping[str, Any]) -> dict[str, Any]:
    """Of a TD's quote; `platform` is what Intel says of its platform."""
    attributes = {str(bit.name).lower(): bool(report.td_attributes & bit) for bit in TdAttributes}
    return _said(
        {name: getattr(report, name) for name in (*_TD_BYTES, "report_data", "tee_tcb_svn_2", "mr_service_td", "xfam")}
        | {f"rtmr{at}": value for at, value in enumerate(report.rtmrs)}
        | {"td_attributes": attributes}
        | dict(platform)
    )


def pcr_claims(pcrs: Mapping[int, bytes]) -> dict[str, Any]:
    """Of a TPM or a Nitro Enclave: `pcr0` and so on, those that were quoted."""
    return {f"pcr{index}": value.hex() for index, value in pcrs.items()}


def configuration_claims(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Of an Azure VM: its members, with an underscore for each hyphen; what has parts is left out."""
    plain = {name: value for name, value in configuration.items() if isinstance(value, bool | int | str)}
    return {name.replace("-", "_"): value for name, value in plain.items()}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is there, bytes as digits."""
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in values.items() if value is not None
    }


def _version(numbers: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("major", "minor", "build"), numbers, strict=True))


def token_claims(members: Mapping[str, Any], *, depth: int = 0) -> dict[str, Any]:
    """Of a verifier's token: its members, with an underscore for each hyphen; what has no value is left out.

    Raises:
        MalformedInput: two members would have one name, or they are nested deeper than 8.
    """
    if depth > _DEPTH:
        raise MalformedInput(f"claims nested deeper than {_DEPTH}")
    found: dict[str, Any] = {}
    for member, value in members.items():
        name = member.replace("-", "_")
        if name in found:
            raise MalformedInput(f"two claims of the token have the name {name[:64]}")
        if isinstance(value, Mapping):
            found[name] = token_claims(value, depth=depth + 1)
        elif isinstance(value, bool | int | str) or _plain(value):
            found[name] = value
    return found


def _plain(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, bool | int | str) for one in value)
