"""What the parts of a policy for Azure's vTPMs and for Nitro Enclaves say."""

from __future__ import annotations

from typing import Final

from cloister.cli.explained.policy_words import Words
from cloister.cli.explained.tpm import meaning_of
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.nitro_policy import NitroPolicy
from cloister.formats.workload_event import NITRO_REGISTER, TPM_REGISTER

_BOOT: Final = range(10)  # PCRs that a boot extends
_WANTED: Final = {"secure-boot": True, "tpm-enabled": True, "console-enabled": False}
_ENCLAVE: Final = {
    3: "the role of the parent instance",
    4: "the parent instance",
    8: "who signed the image",
}


def explain_vm(policy: AzurePolicy, words: Words) -> None:
    """Every field of it, as `vm.…`."""
    words.take("always", "The hardware's report names the key of the vTPM that signed the PCRs.")
    for name, value in policy.vm_configuration.items():
        words.take(f"vm.vm_configuration.{name}", f"The paravisor saw {name} as {_plain(value)}.")
    for name, value in _WANTED.items():
        if name not in policy.vm_configuration:
            words.relax(f"vm.vm_configuration.{name}", f"Not looked at: whether {name} is {_plain(value)}.")
    for index, values in sorted(policy.tpm.pcrs.items()):
        words.named(f"vm.tpm.pcrs.{index}", values, "value", f"taken of PCR {index}, {meaning_of(index)}")
    for index in _BOOT:
        if index not in policy.tpm.pcrs:
            words.relax("vm.tpm.pcrs", f"PCR {index} is not looked at: {meaning_of(index)}.")
    words.asked("vm.expressions", policy.expressions)
    words.take("vm.tpm.pcrs", f"PCR {TPM_REGISTER} holds a workload that reference values name, whatever stands above.")


def explain_nitro(policy: NitroPolicy, words: Words) -> None:
    """Every field of it, as `document.…`."""
    words.take("always", "A pinned root key of AWS's vouches for the key that signed the document, in date.")
    words.take("always", "The document carries what was asked for, whole, so that no older one is shown again.")
    words.take("always", "An enclave in debug mode, whose console its parent reads, is refused.")
    words.named("document.images", policy.images, "enclave image", "taken, by PCR0, PCR1 and PCR2 together")
    for index, values in sorted(policy.pcrs.items()):
        words.named(f"document.pcrs.{index}", values, "value", f"taken of PCR{index}")
    for index, what in _ENCLAVE.items():
        if index not in policy.pcrs:
            words.relax("document.pcrs", f"PCR{index} is not looked at: {what}.")
    age, ahead = policy.maximum_age_seconds, policy.maximum_ahead_seconds
    say = words.take if age <= 600 else words.relax
    say("document.maximum_age_seconds", f"A document is {age} s old at most.")
    words.take("document.maximum_ahead_seconds", f"Its clock is {ahead} s ahead at most.")
    words.asked("document.expressions", policy.expressions)
    words.take("document.pcrs", f"PCR{NITRO_REGISTER} holds a workload that reference values name.")
    words.relax("document", "Revocation is not asked for, as AWS says: its certificates live for hours.")


def _plain(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value
