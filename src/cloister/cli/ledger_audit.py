"""`cloister ledger audit`: replay a whole log, and say what does not follow from what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import click

from cloister.cli.audit_options import AskedAudit, audit_options
from cloister.cli.audit_report import HistoryReport, JsonReport
from cloister.cli.audited_backup import AuditedBackup, is_backup, open_backup
from cloister.client.durable import replace_file
from cloister.contract.audit.auditor import Auditor
from cloister.contract.audit.findings import Finding
from cloister.contract.audit.notes import ShownNote
from cloister.errors import Refused
from cloister.peers.audited_log import AuditedLog
from cloister.peers.tiles import open_source

EPILOG = """\b
Examples:
  cloister ledger audit                                     the local system's log, against its own trust policy
  cloister ledger audit --keep seen                         … and keep the checkpoint that held
  cloister ledger audit --since seen --keep seen            next time: what is new, and that nothing before changed
  cloister ledger audit --from copy --constitution constitution.entries        a copy, offline
  cloister ledger audit --from log.backup                   a ledger's backup, offline
  cloister ledger audit --json --brief | jq 'select(.finding)'

A copy with the evidence in it is made by cloister ledger export --evidence. Exit code 3 when a fault was found:
something that genuine code does not do. Warnings and notes do not change it. docs/formats/audit.md explains each.
"""


class AuditRefused(Refused):
    """The log holds what genuine code does not do."""


@click.command(epilog=EPILOG)
@audit_options
@click.option(
    "--keep",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the checkpoint there, if there is no fault.",
)
@click.option("--brief", is_flag=True, help="Leave out the entries: what was found, and the sums.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def audit(asked: AskedAudit, keep: Path | None, *, brief: bool, as_json: bool) -> None:
    """Replay a log from its first entry, by the rules that every KMS replays it by, and say what does not follow."""
    report = JsonReport(brief=brief) if as_json else HistoryReport(brief=brief)
    auditor, faults = asyncio.run(_audited(asked, report))
    if faults:
        first = faults[0]
        where = "the log" if first.index is None else f"entry {first.index}"
        more = f" (the first of {len(faults)} faults)" if len(faults) > 1 else ""
        raise AuditRefused(first.check, f"{where}: {first.says}{more}")
    if keep is not None and auditor.checkpoint is not None:
        replace_file(keep, auditor.checkpoint.note)


async def _audited(asked: AskedAudit, report: HistoryReport | JsonReport) -> tuple[Auditor, list[Finding]]:
    faults: list[Finding] = []
    looked = 0

    def told() -> None:
        found = [one for one in auditor.findings() if _is_told(one, asked.since)]
        report.findings(found)
        faults.extend(one for one in found if one.severity == "fault")

    async with _opened(asked) as log:
        note, size = await log.checkpoint()
        notes = [ShownNote(note), *([asked.before] if asked.before else [])]
        auditor = Auditor(
            genesis=asked.genesis, notes=notes, since=asked.since, without_evidence=asked.without_evidence
        )
        async for entries, evidence in log.bundles(size, since=asked.since):
            for entry in entries:
                audited = auditor.take(entry, evidence)
                if audited.index >= asked.since:
                    looked += 1
                    report.entry(audited)
                told()
    auditor.close()
    told()
    report.close(auditor, since=asked.since, looked=looked)
    return auditor, faults


@contextlib.asynccontextmanager
async def _opened(asked: AskedAudit) -> AsyncIterator[AuditedLog | AuditedBackup]:
    async with contextlib.AsyncExitStack() as stack:
        if is_backup(asked.place):
            yield stack.enter_context(open_backup(asked.place))
            return
        files = await stack.enter_async_context(open_source(asked.place, authorities=asked.authorities))
        evidence = files
        if asked.evidence is not None:
            evidence = await stack.enter_async_context(open_source(asked.evidence, authorities=asked.authorities))
        yield AuditedLog(files, None if asked.without_evidence else evidence)


def _is_told(one: Finding, since: int) -> bool:
    """What was harmless before `since` is not told again; a fault is, wherever it stands."""
    return one.severity == "fault" or one.index is None or one.index >= since
