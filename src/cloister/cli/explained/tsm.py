"""What a configfs-tsm report says: which driver made it, and the report and certificates in it."""

from __future__ import annotations

from typing import Final

from cloister.cli.explained.intel import explain_quote
from cloister.cli.explained.page import Page, Part, fields
from cloister.cli.explained.snp import explain_snp_report, table_parts
from cloister.errors import MalformedInput
from cloister.formats.tsm_report import TsmReport, parse_tsm_report

_SAYS: Final = {"provider": "provider: the driver of the guest's kernel that answered."}


def explain_tsm_report(data: bytes) -> Page:
    """A report in JSON or CBOR.

    Raises:
        TooLarge, MalformedInput: not such a report, or of a driver that is not known here.
    """
    report = parse_tsm_report(data)
    told = fields({"provider": report.provider.strip()}, _SAYS)
    envelope = Part(name="tsm", title="What the guest's kernel says", signed_by=None, fields=told)
    inside = _outblob(report)
    certificates = () if report.auxblob is None else table_parts(report.auxblob)
    return Page(
        format="tsm-report",
        title=f"configfs-tsm report: {inside.title}",
        parts=(envelope, *inside.parts, *certificates),
    )


def _outblob(report: TsmReport) -> Page:
    explain = {"sev_guest": explain_snp_report, "tdx_guest": explain_quote}.get(report.provider.strip())
    if explain is None:
        raise MalformedInput(f"a configfs-tsm report of {report.provider.strip()}; sev_guest and tdx_guest are known")
    return explain(report.outblob)
