"""Whether an authentic SEV-SNP report meets an appraisal policy; every check is stated there, and all are told.

AMD 56860 (SEV-SNP firmware ABI): section 4.3 for the guest's POLICY, 7.3 for the report.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from cloister.attest.claims import snp_claims
from cloister.attest.snp.authentic import AuthenticSnp, SnpRefused
from cloister.examination import Examination, Steps
from cloister.formats.policy_expression import unheld
from cloister.formats.snp_policy import SnpPolicy
from cloister.formats.snp_report import HOST_VMPL, SigningKey
from cloister.formats.snp_tcb import Product, Tcb

SNP_APPRAISAL_STEPS: Final = (
    "snp.report-data",
    "snp.debug",
    "snp.migration-agent",
    "snp.smt",
    "snp.single-socket",
    "snp.guest-policy",
    "snp.abi",
    "snp.vmpl",
    "snp.signer",
    "snp.csp-id",
    "snp.tcb",
    "snp.committed-tcb",
    "snp.launch-tcb",
    "snp.firmware",
    "snp.mitigations",
    "snp.platform-info",
    "snp.chip",
    "snp.measurement",
    "snp.host-data",
    "snp.id-key",
    "snp.author-key",
    "snp.guest-svn",
    "snp.expressions",
)
_UPDATE: Final = "update the SEV firmware"


@dataclass(frozen=True, slots=True)
class AppraisedSnp:
    """A report that is AMD's word and meets the policy."""

    product: Product
    measurement: bytes  # 48, at launch
    report_data: bytes  # 64
    host_data: bytes  # 32
    chip_id: bytes  # 64; zeros with a VLEK
    tcb: Tcb  # reported


def appraise_snp(authentic: AuthenticSnp, policy: SnpPolicy, *, report_data: bytes) -> Examination[AppraisedSnp]:
    """Hold an authentic report against `policy`, and against the 64 bytes that it must carry; no I/O, no clock."""
    steps = Steps(SNP_APPRAISAL_STEPS, SnpRefused)
    report = authentic.report
    # 1. All 64 bytes, of the guest's field and no other: host data and a prefix are someone else's to choose.
    bound = hmac.compare_digest(report.report_data, report_data)
    steps.check("snp.report-data", bound, "REPORT_DATA binds something else", found="64 bytes bound")
    _check_guest(steps, authentic, policy)
    _check_signer(steps, authentic, policy)
    _check_firmware(steps, authentic, policy)
    _check_identity(steps, authentic, policy)
    # 23. Whatever else the policy says of it, in expressions.
    wrong = unheld(policy.expressions, claims_of_snp(authentic)) if policy.expressions else []
    steps.check("snp.expressions", not wrong, "; ".join(wrong), found=f"{len(policy.expressions)} hold")
    return steps.examined(
        lambda: AppraisedSnp(
            authentic.key.product,
            report.measurement,
            report.report_data,
            report.host_data,
            report.chip_id,
            authentic.reported,
        )
    )


def claims_of_snp(authentic: AuthenticSnp) -> dict[str, Any]:
    """What its report says, by the names that expressions use."""
    tcbs = {f"{name}_tcb": getattr(authentic, name) for name in ("reported", "current", "committed", "launch")}
    return snp_claims(authentic.report, authentic.key.product, tcbs)


def _check_guest(steps: Steps, authentic: AuthenticSnp, policy: SnpPolicy) -> None:
    """Steps 2 to 8: what the guest's POLICY lets the host do to it (section 4.3, table 9)."""
    report = authentic.report
    asked = report.policy
    # 2. With DEBUG the host reads the guest's memory in the clear (SNP_DBG_DECRYPT).
    debug = not asked.allows("DEBUG") or "UnsafeAllowSnpDebug" in policy.unsafe
    steps.check("snp.debug", debug, f"POLICY {asked.bits:#x} allows DEBUG: the host can read the guest", found="no")
    # 3. A migration agent may carry the guest away, to a machine that nobody examined.
    agent = not asked.allows("MIGRATE_MA") or "UnsafeAllowSnpMigrationAgent" in policy.unsafe
    shortfall = "POLICY allows a migration agent, which may move the guest to another machine"
    steps.check("snp.migration-agent", agent, shortfall, found="none")
    # 4. and 5. Threads of a core, and sockets, shared with others.
    wanted = policy.guest
    _check_bits(steps, "snp.smt", {"SMT": wanted.smt}, asked.allows, "POLICY")
    _check_bits(steps, "snp.single-socket", {"SINGLE_SOCKET": wanted.single_socket}, asked.allows, "POLICY")
    # 6. The newer bits, each as the policy says.
    demands = msgspec.structs.asdict(wanted)
    newer = {name.upper(): demand for name, demand in demands.items() if name not in ("smt", "single_socket")}
    _check_bits(steps, "snp.guest-policy", newer, asked.allows, "POLICY")
    # 7. The guest refuses firmware of an older ABI.
    shortfall = f"POLICY demands ABI {_version(asked.abi)}, which is below {_version(policy.minimum_abi)}"
    steps.check("snp.abi", asked.abi >= tuple(policy.minimum_abi), shortfall, found=_version(asked.abi))
    # 8. At a higher VMPL someone else of the guest speaks; and the host can ask for reports too (table 23, VMPL).
    asker = "the host" if report.vmpl == HOST_VMPL else f"VMPL {report.vmpl}"
    accepted = ", ".join(str(one) for one in policy.vmpls) or "none"
    shortfall = f"{asker} asked for the report; accepted: {accepted}"
    steps.check("snp.vmpl", report.vmpl in policy.vmpls, shortfall, found=asker)


def _check_signer(steps: Steps, authentic: AuthenticSnp, policy: SnpPolicy) -> None:
    """Steps 9 and 10: a VCEK is of one chip; a VLEK is leased to a cloud, for all of its machines."""
    key = authentic.key
    # 9.
    accepted = ", ".join(policy.signing_keys) or "none"
    shortfall = f"signed by a {key.kind.name}; accepted: {accepted}"
    steps.check("snp.signer", key.kind.name in policy.signing_keys, shortfall, found=key.kind.name)
    # 10.
    leased = key.kind is SigningKey.VCEK or policy.csp_ids == "any" or key.csp_id in policy.csp_ids
    shortfall = f"a VLEK of {key.csp_id}, which the policy does not name"
    steps.check("snp.csp-id", leased, shortfall, found=key.csp_id or "a VCEK is of no cloud")


def _check_firmware(steps: Steps, authentic: AuthenticSnp, policy: SnpPolicy) -> None:
    """Steps 11 to 16: what runs below the guest, and how the machine is set up."""
    report, product = authentic.report, authentic.key.product
    minima = [one.tcb() for one in policy.minimum_tcbs if one.product is product]
    # 11. REPORTED is what the key stands for. 12. Below COMMITTED nobody can go back. 13. What launched the guest
    # could read it, whatever was updated since.
    for step, name, tcb in (
        ("snp.tcb", "REPORTED", authentic.reported),
        ("snp.committed-tcb", "COMMITTED", authentic.committed),
        ("snp.launch-tcb", "LAUNCH", authentic.launch),
    ):
        short = [shortfall for minimum in minima for shortfall in tcb.below(minimum)]
        said = f"{name} TCB: {'; '.join(short)}: {_UPDATE}" if minima else f"the policy names no TCB of {product}"
        steps.check(step, bool(minima) and not short, said, found=str(tcb))
    # 14. The committed version of the firmware (section 8.20, SNP_COMMIT).
    committed = report.committed_firmware
    shortfall = f"firmware {_version(committed)} is below {_version(policy.minimum_firmware)}: {_UPDATE}"
    steps.check("snp.firmware", committed >= tuple(policy.minimum_firmware), shortfall, found=_version(committed))
    # 15. Mitigations verified at launch and now; reports before version 5 tell of none.
    both = (report.launch_mit_vector or 0) & (report.current_mit_vector or 0)
    missing = policy.mitigations & ~both
    steps.check("snp.mitigations", not missing, f"mitigations {missing:#x} are missing: {_UPDATE}", found=f"{both:#x}")
    # 16. PLATFORM_INFO, ALIAS_CHECK_COMPLETE among it (table 24).
    platform = {name.upper(): demand for name, demand in msgspec.structs.asdict(policy.platform).items()}
    _check_bits(steps, "snp.platform-info", platform, report.platform_info.has, "PLATFORM_INFO")


def _check_identity(steps: Steps, authentic: AuthenticSnp, policy: SnpPolicy) -> None:
    """Steps 17 to 22: which machine, which guest, and who vouches for it."""
    report = authentic.report
    # 17. A VLEK names no chip: zeros are in no list.
    named = policy.chip_ids == "any" or (any(report.chip_id) and report.chip_id in policy.chip_ids)
    steps.check("snp.chip", named, f"chip {_short(report.chip_id)} is not in the policy", found=_short(report.chip_id))
    # 18. The platform's measurement.
    _check_listed(steps, "snp.measurement", report.measurement, policy.measurements)
    # 19. The host's 32 bytes, given at launch.
    _check_listed(steps, "snp.host-data", report.host_data, policy.host_data)
    # 20. and 21. Who signed the guest's identity block (section 8.17), and who signed for that key.
    _check_listed(steps, "snp.id-key", report.id_key_digest, policy.id_key_digests)
    _check_listed(steps, "snp.author-key", report.author_key_digest, policy.author_key_digests)
    # 22. The guest's own version, from the identity block.
    short = f"guest SVN {report.guest_svn} is below {policy.minimum_guest_svn}: update the guest's image"
    found = str(report.guest_svn)
    steps.check("snp.guest-svn", report.guest_svn >= policy.minimum_guest_svn, short, found=found)


def _check_bits(steps: Steps, step: str, demands: dict[str, str], has: Callable[[str], bool], field: str) -> None:
    wrong = [
        f"{name} is {'set' if has(name) else 'not set'}, and {demand}"
        for name, demand in demands.items()
        if demand != "either" and has(name) is not (demand == "required")
    ]
    found = ", ".join(name for name in demands if has(name)) or "none set"
    steps.check(step, not wrong, f"{field}: {'; '.join(wrong)}", found=found)


def _check_listed(steps: Steps, step: str, value: bytes, accepted: Sequence[bytes] | Literal["any"]) -> None:
    steps.check(
        step, accepted == "any" or value in accepted, f"{_short(value)} is not in the policy", found=_short(value)
    )


def _short(value: bytes) -> str:
    return f"{value.hex()[:16]}…" if any(value) else "none, all zeros"


def _version(numbers: Sequence[int]) -> str:
    return ".".join(str(number) for number in numbers)
