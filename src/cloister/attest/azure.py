"""What ties an Azure confidential VM's vTPM to its hardware: the paravisor's runtime data, and a quote by its key.

The paravisor owns REPORT_DATA there, so that the hardware vouches for the runtime data, the runtime data names the
vTPM's attestation key, and that key signs the caller's challenge and the PCRs. The hardware's own report is examined by
`attest.snp` or `attest.tdx`: what is asked for here is the REPORT_DATA that they found authentic.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cloister.attest.claims import configuration_claims, pcr_claims
from cloister.attest.tpm import (
    QUOTE_STEPS,
    TPM_APPRAISAL_STEPS,
    AppraisedQuote,
    AuthenticQuote,
    SignedQuote,
    appraise_tpm,
    examine_quote,
    rsa_key,
)
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import AK_NAME, HclReport, RuntimeData, parse_runtime_data
from cloister.formats.policy_expression import unheld

RUNTIME_STEPS = ("azure.hardware", "azure.runtime-data", "azure.attestation-key")
AZURE_STEPS = (*RUNTIME_STEPS, *QUOTE_STEPS)
AZURE_APPRAISAL_STEPS = ("azure.vm-configuration", *TPM_APPRAISAL_STEPS, "azure.expressions")
_REPORT_DATA: Final = 64  # bytes


class AzureRejected(Refused):
    """What an Azure confidential VM says is not tied to its hardware, or did not meet the appraisal policy."""


@dataclass(frozen=True, slots=True)
class AuthenticRuntime:
    """Runtime data that the hardware vouches for. Built only here."""

    attestation_key: RSAPublicKey
    vm_configuration: dict[str, Any]
    user_data: str  # hex digits


@dataclass(frozen=True, slots=True)
class AuthenticAzure:
    """Runtime data that the hardware vouches for, and a quote by the key that it names. Built only here."""

    runtime: AuthenticRuntime
    quote: AuthenticQuote


@dataclass(frozen=True, slots=True)
class AppraisedAzure:
    """A VM whose configuration and PCRs meet the appraisal policy; its hardware's report is appraised by itself."""

    vm_configuration: dict[str, Any]
    quote: AppraisedQuote


def examine_runtime(hcl: HclReport, *, report_data: bytes | None) -> Examination[AuthenticRuntime]:
    """Whether the hardware vouches for a report's runtime data; no I/O, no clock.

    Args:
        hcl: as parsed.
        report_data: REPORT_DATA, 64 bytes, of the authentic SNP report that `hcl` holds, or of an authentic TD quote;
            None where TDX sent no quote.
    """
    steps = Steps(RUNTIME_STEPS, AzureRejected)
    # 1. A report that can be verified from afar. A TDREPORT's MAC is known to its own CPU alone (Intel TDX module
    #    specification, TDG.MR.REPORT): anyone can write one.
    shortfall = "a TDREPORT is authenticated by a local MAC only: have the VM get a TD quote of it, and send that too"
    if not steps.check("azure.hardware", report_data is not None, shortfall, found=hcl.kind) or report_data is None:
        return steps.stopped()
    # 2. REPORT_DATA is the hash of the runtime data, whole: the hash, and zeros behind it.
    hashed = hashlib.new(hcl.hash, hcl.runtime_data).digest()
    bound = hmac.compare_digest(hashed.ljust(_REPORT_DATA, b"\0"), report_data)
    shortfall = f"REPORT_DATA is not the {hcl.hash} of the runtime data with zeros behind it"
    steps.check("azure.runtime-data", bound, shortfall, found=f"its {hcl.hash} is in REPORT_DATA")
    # 3. It names one attestation key.
    found = steps.attempt("azure.attestation-key", lambda: _runtime(hcl), MalformedInput, TooLarge, found=AK_NAME)
    if found is None:
        return steps.stopped()
    data, key = found
    return steps.examined(lambda: AuthenticRuntime(key, dict(data.vm_configuration), data.user_data))


def examine_azure(hcl: HclReport, signed: SignedQuote, *, report_data: bytes | None) -> Examination[AuthenticAzure]:
    """Whether the vTPM that the hardware vouches for signed this quote; the arguments are `examine_runtime`'s."""
    steps: Steps = Steps(AZURE_STEPS, AzureRejected)
    # 1. to 3. The runtime data.
    runtime = steps.include(examine_runtime(hcl, report_data=report_data))
    if runtime is None:
        return steps.stopped()
    # 4. to 6. The quote, by the key that it names and no other.
    quote = steps.include(examine_quote(signed, runtime.attestation_key))
    return steps.stopped() if quote is None else steps.examined(lambda: AuthenticAzure(runtime, quote))


def appraise_azure(authentic: AuthenticAzure, policy: AzurePolicy, *, nonce: bytes) -> Examination[AppraisedAzure]:
    """Hold an authentic VM against the policy, and its quote against the qualifying data that was asked for, whole."""
    steps: Steps = Steps(AZURE_APPRAISAL_STEPS, AzureRejected)
    # 1. What the paravisor measured of the VM's configuration.
    configuration = authentic.runtime.vm_configuration
    wrong = [name for name, value in sorted(policy.vm_configuration.items()) if not _is(configuration, name, value)]
    shown = ", ".join(f"{name} is {configuration.get(name, 'absent')!r}"[:80] for name in wrong)
    shortfall = f"{shown}: not as the policy names it; change the VM's security profile"
    steps.check("azure.vm-configuration", not wrong, shortfall, found=f"{len(policy.vm_configuration)} members hold")
    # 2. and 3. The quote.
    quote = steps.include(appraise_tpm(authentic.quote, policy.tpm, nonce=nonce))
    # 4. Whatever else the policy says of configuration and quote, in expressions.
    wrong = unheld(policy.expressions, claims_of_vm(authentic))
    steps.check("azure.expressions", not wrong, "; ".join(wrong), found=f"{len(policy.expressions)} hold")
    return steps.stopped() if quote is None else steps.examined(lambda: AppraisedAzure(dict(configuration), quote))


def claims_of_vm(authentic: AuthenticAzure) -> dict[str, Any]:
    """What paravisor and vTPM say, by the names that expressions use."""
    quote = authentic.quote
    counts = {name: getattr(quote, name) for name in ("reset_count", "restart_count", "firmware_version")}
    configuration = {"vm_configuration": configuration_claims(authentic.runtime.vm_configuration)}
    return counts | configuration | pcr_claims(quote.pcrs.get(SHA256, {}))


def _is(configuration: Mapping[str, Any], name: str, value: bool | str) -> bool:
    """Equal and of the same type: in Python 1 equals True."""
    found = configuration.get(name)
    return type(found) is type(value) and found == value


def _runtime(hcl: HclReport) -> tuple[RuntimeData, RSAPublicKey]:
    data = parse_runtime_data(hcl.runtime_data)
    keys = [key for key in data.keys if key.kid == AK_NAME]
    if len(keys) != 1:
        raise MalformedInput(f"the runtime data names {len(keys)} keys {AK_NAME}, not one")
    return data, rsa_key(*keys[0].numbers())
