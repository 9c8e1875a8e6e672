"""What the part of a policy for SEV-SNP reports says."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from cloister.cli.explained.policy_words import Words
from cloister.cli.explained.snp import PLATFORM_SAYS, POLICY_SAYS
from cloister.formats.snp_policy import SnpPolicy, UnsafeSnp
from cloister.formats.snp_tcb import Product

_KEYS: Final = {
    "VCEK": "each chip signs with a key of its own",
    "VLEK": "a cloud's key signs for all of its chips, so that evidence does not say which machine it is",
}


def explain_snp(policy: SnpPolicy, words: Words) -> None:
    """Every field of it, as `report.…`."""
    words.take("always", "A pinned root key of AMD's vouches for the key that signed the report, in date.")
    words.take("always", "The report carries what was asked for, whole, so that no older one is shown again.")
    words.strict("report.unsafe", policy.unsafe, get_args(UnsafeSnp))
    _signers(policy, words)
    _guest(policy, words)
    _firmware(policy, words)
    _identity(policy, words)
    words.asked("report.expressions", policy.expressions)


def _signers(policy: SnpPolicy, words: Words) -> None:
    for key in policy.signing_keys:
        say = words.relax if key == "VLEK" else words.take
        say("report.signing_keys", f"{key}: {_KEYS[key]}.")
    if not policy.signing_keys:
        words.named("report.signing_keys", policy.signing_keys, "kind of key", "taken")
    if "VLEK" in policy.signing_keys:
        unchecked = "VLEKs of any cloud are taken."
        words.listed("report.csp_ids", policy.csp_ids, "cloud", unchecked)


def _guest(policy: SnpPolicy, words: Words) -> None:
    for vmpl in policy.vmpls:
        if vmpl:
            says = f"Reports asked for at VMPL {vmpl} are taken: more privileged code of the guest's can lie to it."
            words.relax("report.vmpls", says)
        else:
            words.take("report.vmpls", "Reports asked for at VMPL 0, the guest's most privileged level.")
    if not policy.vmpls:
        words.named("report.vmpls", policy.vmpls, "VMPL", "taken")
    for name, demand in msgspec.structs.asdict(policy.guest).items():
        words.demanded(f"report.guest.{name}", demand, f"POLICY's {name.upper()}, {POLICY_SAYS[name.upper()]}")
    for name, demand in msgspec.structs.asdict(policy.platform).items():
        says = f"PLATFORM_INFO's {name.upper()}, {PLATFORM_SAYS[name.upper()]}"
        words.demanded(f"report.platform.{name}", demand, says)


def _firmware(policy: SnpPolicy, words: Words) -> None:
    for key, numbers, what in (
        ("report.minimum_abi", policy.minimum_abi, "the guest demands an ABI"),
        ("report.minimum_firmware", policy.minimum_firmware, "the firmware is committed to a version"),
    ):
        least = ".".join(map(str, numbers))
        if any(numbers):
            words.take(key, f"Held: {what} of at least {least}.")
        else:
            words.relax(key, f"Any version: {what} of at least {least} asks for nothing.")
    for minimum in policy.minimum_tcbs:
        key, tcb = "report.minimum_tcbs", minimum.tcb()
        if any(tcb.levels().values()):
            words.take(key, f"{minimum.product}: REPORTED, COMMITTED and LAUNCH TCB are at least {tcb}.")
        else:
            words.relax(key, f"{minimum.product}: any TCB passes, also one with holes that are known.")
        if not tcb.microcode and any(tcb.levels().values()):
            words.relax(key, f"{minimum.product}: any microcode passes, its minimum is 0.")
    named = {one.product for one in policy.minimum_tcbs}
    if not named:
        words.named("report.minimum_tcbs", (), "product", "taken")
    missing = ", ".join(str(product) for product in Product if product not in named)
    if missing and named:
        words.take("report.minimum_tcbs", f"{missing}: not taken, since no minimum is named.")
    if policy.mitigations:
        words.take("report.mitigations", f"Mitigations {policy.mitigations:#x} were verified, at launch and now.")
    else:
        words.relax("report.mitigations", "No mitigation is demanded.")


def _identity(policy: SnpPolicy, words: Words) -> None:
    words.listed("report.chip_ids", policy.chip_ids, "chip", "Any chip is taken: it may stand in anybody's house.")
    words.listed("report.measurements", policy.measurements, "launch measurement", "")
    for key, value, what, unchecked in (
        ("host_data", policy.host_data, "value of HOST_DATA", "HOST_DATA is not looked at: the host gave it."),
        (
            "id_key_digests",
            policy.id_key_digests,
            "identity key",
            "Who signed the guest's identity block, if anyone did, is not looked at.",
        ),
        (
            "author_key_digests",
            policy.author_key_digests,
            "author's key",
            "Who signed for the identity key is not looked at.",
        ),
    ):
        words.listed(f"report.{key}", value, what, unchecked)
    if policy.minimum_guest_svn:
        words.take("report.minimum_guest_svn", f"The guest's own version is at least {policy.minimum_guest_svn}.")
    else:
        words.relax("report.minimum_guest_svn", "Any version of the guest's image is taken, by its own number.")
