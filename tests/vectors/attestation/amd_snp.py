"""AMD SEV-SNP: recorded reports with their VCEKs and VLEKs, under a strict appraisal."""

from __future__ import annotations

from tests.vectors.attestation import Case, Judge, WrongFact, require_facts

from cloister.attest.roots import AMD_ARKS
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import appraise_snp
from cloister.attest.snp.authentic import AuthenticSnp, SnpEndorsements, examine_snp
from cloister.formats.snp_policy import SnpGuestBits, SnpMinimum, SnpPlatformBits, SnpPolicy, UnsafeSnp
from cloister.formats.snp_report import SnpReport, parse_snp_report
from cloister.testing.snp_bits import demand_bits

LOWEST = {"bootloader": 0, "tee": 0, "snp": 0, "microcode": 0}

REASONS: tuple[tuple[str, str], ...] = (
    (r"(?i)\bdebug\b", "snp.debug"),
    (r"(?i)migrat", "snp.migration-agent"),
    (r"(?i)not signed by (the )?(ASK|ASVK)|swapped chain|foreign chain|expired|not yet valid", "snp.chain"),
    (r"(?i)wrong hwid|another chip|chip.?id", "snp.chip-id"),
    (r"(?i)did not sign the report|(report|evidence) signature|tampered", "snp.signature"),
    (r"(?i)\bCRL\b|revoked|revocation", "snp.revocation"),
    (r"(?i)VLEK.*(VCEK (is )?(demanded|required)|not accepted)", "snp.signer"),
    (r"(?i)\bVMPL ?[123]\b", "snp.vmpl"),
    (r"(?i)CURRENT.*not.*REPORTED|another TCB|TCB (mismatch|does not match)", "snp.reported-tcb"),
    (r"(?i)(report.?data|nonce) (mismatch|does not match|differs|is not)", "snp.report-data"),
    (r"(?i)(another|wrong|other) product", "snp.product"),
)


def judge_snp(case: Case) -> list[str]:
    """The steps that failed, those of the report's origin first."""
    data = case.read(case.data["files"]["report"])
    report = parse_snp_report(data).report
    require_facts(case, facts(report))
    unsafe = relaxed(case)
    examination = examine_snp(data, endorsements(case), roots=AMD_ARKS, at=case.at, unsafe=unsafe, seen=SEEN_NOTHING)
    require_authenticity(case, examination.failed)
    if examination.failed:
        return examination.failed
    authentic = examination.require()
    expected = case.data.get("facts", {}).get("report_data", report.report_data.hex())
    policy = strict(authentic, relax=case.relax, unsafe=unsafe)
    return appraise_snp(authentic, policy, report_data=bytes.fromhex(expected)).failed


def relaxed(case: Case) -> tuple[UnsafeSnp, ...]:
    """What has to be accepted by name for this case."""
    return ("UnsafeAllowSnpWithoutRevocation",) if "no-crl" in case.relax else ()


def endorsements(case: Case) -> SnpEndorsements:
    """What the case's files are for."""
    files = case.data["files"]
    own = files.get("vcek") or files["vlek"]
    lists = (case.read(case.data["crl"]),) if "crl" in case.data else ()
    return SnpEndorsements((case.read(own), case.read(case.data["chain"])), lists)


def strict(authentic: AuthenticSnp, *, relax: frozenset[str], unsafe: tuple[UnsafeSnp, ...]) -> SnpPolicy:
    """No debug, no migration agent, VMPL 0, a VCEK; what a case has no word on is taken as it is."""
    product = authentic.key.product
    csp = (authentic.key.csp_id,) if "vlek" in relax and authentic.key.csp_id else ()
    return SnpPolicy(
        unsafe=unsafe,
        signing_keys=("VCEK", "VLEK") if "vlek" in relax else ("VCEK",),
        csp_ids=csp,
        vmpls=(0, 1) if "vmpl-1" in relax else (0,),
        minimum_abi=(0, 0),
        minimum_firmware=(1, 49, 0),
        minimum_tcbs=(SnpMinimum(product=product, fmc=0, **LOWEST),),
        guest=demand_bits(SnpGuestBits, "either", cxl_allow="forbidden"),
        platform=demand_bits(SnpPlatformBits, "either"),  # version 2 has no ALIAS_CHECK_COMPLETE
        mitigations=0,
        chip_ids="any",
        measurements=(authentic.report.measurement,),
        host_data="any",
        id_key_digests="any",
        author_key_digests="any",
        minimum_guest_svn=0,
        expressions=(),
    )


def facts(report: SnpReport) -> dict[str, object]:
    """What cases.json knows of a report, as it writes it: TCB versions as numbers of 8 bytes."""
    return {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "vmpl": report.vmpl,
        "policy": hex(report.policy.bits),
        "platform_info": hex(report.platform_info.bits),
        "signing_key": report.signing_key.name,
        **{
            name: getattr(report, name).hex()
            for name in (
                "family_id",
                "image_id",
                "report_data",
                "measurement",
                "host_data",
                "id_key_digest",
                "author_key_digest",
                "report_id",
                "report_id_ma",
                "chip_id",
            )
        },
        **{
            name: getattr(report, name)[::-1].hex()
            for name in ("reported_tcb", "committed_tcb", "current_tcb", "launch_tcb")
        },
    }


def require_authenticity(case: Case, failed: list[str]) -> None:
    """Hold what the case says of its signature, chain and match against the steps.

    Raises:
        WrongFact: one was judged otherwise.
    """
    match = {"snp.product", "snp.signing-key", "snp.chip-id", "snp.reported-tcb"}
    for name, steps in (
        ("evidence_signature", {"snp.signature"}),
        ("endorsement_chain", {"snp.chain"}),
        ("endorsement_matches_report", match),
    ):
        expected = case.data["expect"].get(name)
        if expected is not None and expected is bool(steps & set(failed)):
            raise WrongFact(f"{name} is to be {expected}; failed: {', '.join(failed) or 'nothing'}")


KINDS: dict[str, Judge] = {"snp": judge_snp}
