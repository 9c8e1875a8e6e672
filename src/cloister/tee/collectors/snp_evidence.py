"""A SEV-SNP report and what its host laid beside it, out of the buffers in which the kernel hands them over."""

from __future__ import annotations

from uuid import UUID

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsements import Endorsement
from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VCEK, VLEK, declared_length, parse_certificate_table
from cloister.formats.snp_report import REPORT_SIZE, SigningKey, parse_snp_report
from cloister.tee.collectors.collected import Collected, TeeFault


def collected_snp(buffer: bytes, table: bytes, report_data: bytes) -> Collected:
    """The report at the head of `buffer`, and the certificates in the host's table, which may be empty.

    The table is the host's word and nobody's signature is on it: what is malformed is left out, with a remark, for
    certificates can be had elsewhere.

    Raises:
        TeeFault: `buffer` holds no report, or one that answers somebody else.
    """
    report = buffer[:REPORT_SIZE]
    try:
        parsed = parse_snp_report(report)
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"the secure processor's answer is no SEV-SNP report: {error}") from error
    if parsed.report.report_data != report_data:
        raise TeeFault("the SEV-SNP report carries other report data than was asked for: it answers somebody else")
    endorsements, remarks = _endorsements(table, VLEK if parsed.report.signing_key is SigningKey.VLEK else VCEK)
    return Collected(report, endorsements, remarks)


def _endorsements(table: bytes, key: UUID) -> tuple[tuple[Endorsement, ...], tuple[str, ...]]:
    """What the host says of the key that signed, and of those above it; a host may tell of both kinds of keys."""
    if not any(table):
        return (), ()
    try:
        given = parse_certificate_table(table[: declared_length(table)])
    except (MalformedInput, TooLarge) as error:
        return (), (f"the host's certificate table was left out: {error}",)
    found = [Endorsement(kind="amd-certificates", data=one) for kind in (key, ASK, ARK) if (one := given.get(kind))]
    if revocations := given.get(CRL):
        found.append(Endorsement(kind="amd-revocations", data=revocations))
    return tuple(found), ()
