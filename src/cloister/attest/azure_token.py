"""Tokens of Microsoft Azure Attestation in place of evidence: what Microsoft saw of an SEV-SNP guest or a trust domain.

The guest chose the report data, and so it is the binding's 64 bytes, as in raw evidence. A VM whose paravisor owns it
(`azurevm`) is not taken by its token: the token tells no PCR's value, and so no workload.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cloister.attest.foreign_token import (
    FOREIGN_STEPS,
    NamedTokenRefused,
    TokenTerms,
    check_exchange,
    check_expressions,
    check_nonce,
    check_pinned,
    read_signed,
)
from cloister.attest.hardware import Proven
from cloister.attest.seen import SEEN_NOTHING
from cloister.examination import Examination, Steps
from cloister.formats.azure_token import AzureSnpToken, AzureTdxToken, AzureToken, read_azure_token
from cloister.formats.contract_verifier import AzureVerifier
from cloister.formats.td_report import TdAttributes
from cloister.formats.workload_event import register_value

AZURE_TOKEN_STEPS: Final = FOREIGN_STEPS
# Of a trust domain's ATTRIBUTES; all others let it be read, profiled or moved, or nobody knows what they do.
_HARMLESS: Final = TdAttributes.SEPT_VE_DISABLE | TdAttributes.PKS | TdAttributes.KL | TdAttributes.PERFMON


def examine_azure_token(token: bytes, verifier: AzureVerifier, terms: TokenTerms) -> Examination[Proven]:
    """Examine a token in order; no I/O, no clock."""
    steps: Steps = Steps(AZURE_TOKEN_STEPS, NamedTokenRefused)
    steps.check("token.verifier", True, "", found=f"{verifier.name} (azure-attestation)")
    # 2. to 6. Signed by a pinned key, and well-formed.
    read = read_signed(steps, token, verifier, read_azure_token, lambda jwt: check_pinned(jwt, verifier.keys))
    if read is None:
        return steps.stopped()
    told, claims = read
    # 7. to 9. By this instance, now. There is no audience: what is bound names contract and challenge.
    check_exchange(steps, told, verifier, at=terms.at)
    # 10. The report data, whole.
    wanted = terms.binding.report_data()
    check_nonce(steps, bytes.fromhex(told.report_data), wanted)
    # 11. Nobody looks in or moves it away.
    shortfall = _open(told)
    steps.check("token.environment", not shortfall, shortfall, found="closed to its host")
    # 12. Two measurements: the platform's is named here, the workload follows from it or stands in RTMR3.
    measurement, named, workload = _measured(told, verifier, terms)
    shown = f"{measurement.hex()[:16]}…"
    steps.check("token.measurement", named, f"{shown} is not in the policy", found=shown)
    # 13. Whatever else the policy asks.
    check_expressions(steps, verifier, claims)
    tree: dict[str, Any] = {"verifier": verifier.name, "token": claims}
    return steps.examined(lambda: Proven(measurement, workload, wanted, SEEN_NOTHING, tree))


def _open(told: AzureToken) -> str:
    """What lets the host in, in words; empty where nothing does."""
    if isinstance(told, AzureSnpToken):
        wrong = {
            "may be debugged": told.debuggable,
            "may be migrated": told.migratable,
            f"spoke from VMPL {told.vmpl}, not 0": told.vmpl != 0,
        }
        return ", ".join(f"the guest {name}" for name, is_so in wrong.items() if is_so)
    attributes = TdAttributes(int.from_bytes(bytes.fromhex(told.attributes), "little"))
    if attributes & ~_HARMLESS:
        return f"the trust domain's ATTRIBUTES {told.attributes} let it be read, profiled or moved"
    return "" if TdAttributes.SEPT_VE_DISABLE in attributes else "the trust domain is without SEPT_VE_DISABLE"


def _measured(told: AzureToken, verifier: AzureVerifier, terms: TokenTerms) -> tuple[bytes, bool, bytes]:
    """The platform's measurement, whether the policy names it, and the workload; empty where it is none of those."""
    if isinstance(told, AzureSnpToken):
        measurement = bytes.fromhex(told.launch_measurement)
        image = next((one for one in verifier.images if one.measurement == measurement), None)
        return measurement, image is not None, b"" if image is None else image.workload
    measurement = _domain(told)
    rtmr3 = bytes.fromhex(told.rtmr3)
    loaded = (one for one in terms.workloads if register_value(one, "sha384") == rtmr3)
    return measurement, measurement in verifier.domains, next(loaded, b"")


def _domain(told: AzureTdxToken) -> bytes:
    """As raw evidence of a trust domain has it (`attest.hardware`): everything measured of it but the workload."""
    parts = (told.mr_td, told.rtmr0, told.rtmr1, told.rtmr2, told.mr_config_id, told.mr_owner, told.mr_owner_config)
    return hashlib.sha384(bytes.fromhex("".join(parts))).digest()
