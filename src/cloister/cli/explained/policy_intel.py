"""What the part of a policy for TDX quotes says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from cloister.cli.explained.policy_words import Words
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.tdx_policy import IntelTcbPolicy, TdxPolicy, UnsafeTdx

_STATUSES: Final[Mapping[TcbStatus, str]] = MappingProxyType(
    {
        TcbStatus.UP_TO_DATE: "platform, TDX module and quoting enclave are at the latest level",
        TcbStatus.SW_HARDENING_NEEDED: "the software has to be hardened, which nothing here checks",
        TcbStatus.CONFIGURATION_NEEDED: "settings of the BIOS are wanting",
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: "BIOS and software have to be hardened",
        TcbStatus.OUT_OF_DATE: "the platform has holes that are known and mended elsewhere",
        TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: "the platform has holes that are known, and settings are wanting",
    }
)
_DAY: Final = 86_400  # seconds


def explain_tdx(policy: TdxPolicy, words: Words) -> None:
    """Every field of it, as `quote.…`."""
    words.take("always", "A pinned root key of Intel's vouches for the key that signed the quote, in date.")
    words.take("always", "Intel's revocation lists, in date, have to be there and not to name that chain.")
    words.take("always", "The quote carries what was asked for, whole, so that no older one is shown again.")
    words.strict("quote.unsafe", policy.unsafe, get_args(UnsafeTdx))
    _tcb(policy.tcb, words)
    _images(policy, words)
    for name, stance, what in (
        ("protection_keys", policy.protection_keys, "PKS, protection keys of supervisor pages"),
        ("key_locker", policy.key_locker, "KL, Key Locker"),
        ("performance_monitoring", policy.performance_monitoring, "PERFMON, performance monitoring in the TD"),
    ):
        words.demanded(f"quote.{name}", stance, f"the TD attribute {what}")
    _features(policy, words)
    words.asked("quote.expressions", policy.expressions)


def _tcb(policy: IntelTcbPolicy, words: Words) -> None:
    for status in policy.statuses:
        say = words.take if status is TcbStatus.UP_TO_DATE else words.relax
        say("quote.tcb.statuses", f"{status}: {_STATUSES[status]}.")
    if not policy.statuses:
        words.named("quote.tcb.statuses", policy.statuses, "TCB status", "taken")
    days = policy.maximum_tcb_age_seconds // _DAY
    say = words.take if days <= 3 * 365 else words.relax
    say("quote.tcb.maximum_tcb_age_seconds", f"The TCB level was published {days} days ago at most.")
    for advisory in policy.advisories:
        words.relax("quote.tcb.advisories", f"{advisory} is accepted: what Intel says there may hold for the platform.")
    if not policy.advisories:
        words.take("quote.tcb.advisories", "No advisory of Intel's is accepted.")
    if policy.minimum_evaluation_data_number:
        says = f"Collateral knows of TCB recovery {policy.minimum_evaluation_data_number} at least."
        words.take("quote.tcb.minimum_evaluation_data_number", says)
    else:
        says = "Collateral that is in date is taken, though newer may be out."
        words.relax("quote.tcb.minimum_evaluation_data_number", says)
    words.listed("quote.tcb.ppids", policy.ppids, "platform", "Any platform is taken: it may stand in anybody's house.")
    words.listed("quote.tcb.fmspcs", policy.fmspcs, "kind of platform", "Any kind of platform is taken.")


def _images(policy: TdxPolicy, words: Words) -> None:
    how = "taken, by MRTD, all RTMRs and what its starter wrote, all together"
    words.named("quote.images", policy.images, "image", how)
    for at, image in enumerate(policy.images):
        if image.rtmr3 != "workload":
            says = f"Values of RTMR3 stand there ({len(image.rtmr3)}), and not the workload that reference values name."
            words.take(f"quote.images[{at}].rtmr3", says)


def _features(policy: TdxPolicy, words: Words) -> None:
    others = int.from_bytes(policy.other_attributes, "little")
    if others:
        words.relax("quote.other_attributes", f"TD attributes {others:#x} may be set besides those named.")
    else:
        words.take("quote.other_attributes", "No other TD attribute may be set.")
    required, allowed = (int.from_bytes(one, "little") for one in (policy.xfam_required, policy.xfam_allowed))
    words.take("quote.xfam_required", f"XFAM has {required:#x}.")
    if allowed == 2**64 - 1:
        words.relax("quote.xfam_allowed", "Any extended feature of the processor may be in use.")
    else:
        words.take("quote.xfam_allowed", f"XFAM has nothing besides {allowed:#x}.")
    if policy.service_tds:
        bound = f"{len(policy.service_tds)} service TDs may be bound: one that is has the TD's memory in its hands."
        words.relax("quote.service_tds", bound)
    else:
        words.take("quote.service_tds", "No service TD may be bound.")
    if policy.unreported_service_td == "accept":
        says = "Quotes of version 4 are taken, which do not say if a service TD is bound; the TD is not migratable."
        words.relax("quote.unreported_service_td", says)
    else:
        words.take("quote.unreported_service_td", "A quote has to say which service TD is bound (version 5).")
