"""`cloister evidence verify`: hardware's evidence by itself, held against an appraisal policy, offline."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from cloister.attest.certificates import day
from cloister.cli.appraisal_policy import read_appraisal_policy
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.evidence_collect import Hex
from cloister.cli.evidence_judged import WORKLOAD, Asked, Judged, judge
from cloister.cli.evidence_read import read_vendor_evidence
from cloister.cli.explained.policy_words import UNSAFE
from cloister.cli.explained.remedies import REMEDIES
from cloister.cli.terminal import printable, say_json
from cloister.examination import Outcome
from cloister.formats.appraisal_policy import AppraisalPolicy

EPILOG: Final = """\b
Examples:
  cloister evidence verify report.bin --appraisal-policy policy.toml --endorsements certificates/ --challenge HEX
  cloister evidence verify quote.bin --appraisal-policy policy.toml --endorsements collateral.json --report-data HEX
  cloister evidence verify gpus.json --appraisal-policy policy.toml --endorsements rims/ --challenge HEX --json
  cloister evidence verify old.bin --appraisal-policy policy.toml --at 2026-03-01T12:00:00Z --unsafe-any-challenge

Nobody is asked and nothing is fetched: endorsements are a folder of files as vendors hand them out (certificates and
lists in DER or PEM, Intel's collateral in JSON, manifests in XML, OCSP answers), one such file, a bundle, or a store.
Exit code 0: accepted; 3: refused. All checks that could be reached stand there, and those that failed with what to do;
those marked · need one that failed, so that nobody knows of them yet.

A challenge stands at the front of the report data with zeros behind it, as cloister evidence collect puts it there; of
GPUs it is the nonce, of a Nitro Enclave the document's nonce, beside which --report-data says its user data; of all
others give one of the two. Evidence of a node binds more than a challenge: its KMS verifies that.
"""
ANY_WORDS: Final = "--unsafe-any-challenge: nothing says that this was made for you, or lately"
NOT_REACHED: Final = "not reached: these need something that failed, and may fail once it holds"
NO_WORKLOAD: Final = "which workload runs was not asked for: --workload does"


class Moment(click.ParamType[int]):
    """A moment, as seconds since 1970 or as people write it in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds since 1970."""
        if isinstance(value, int) or str(value).isdecimal():
            return int(value)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is no moment: write 2026-03-01T12:00:00Z", param, ctx)
        return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())


class Measurement(Hex):
    """A workload measurement in hex digits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Its bytes."""
        measurement = super().convert(value, param, ctx)
        if len(measurement) != WORKLOAD:
            told = f"{len(measurement)} bytes: a workload measurement has {WORKLOAD}, {2 * WORKLOAD} hex digits"
            self.fail(f"{told}, as cloister workload measure prints them", param, ctx)
        return measurement


@click.command(epilog=EPILOG, short_help="Verify hardware's evidence against a policy, offline.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--appraisal-policy",
    "policy_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="POLICY",
    help="What it has to meet.",
)
@click.option("--endorsements", type=click.Path(path_type=Path), metavar="DIR|FILE", help="What vendors say of it.")
@click.option("--at", type=Moment(), metavar="TIME", help="When it is judged. [default: now]")
@click.option("--challenge", type=Hex(), metavar="HEX", help="What it has to answer.")
@click.option("--report-data", type=Hex(), metavar="HEX", help="All bytes that it has to carry, instead.")
@click.option("--unsafe-any-challenge", "anything", is_flag=True, help="Take it though it may be a replay.")
@click.option("--gpus", type=click.Path(path_type=Path), metavar="FILE", help="The machine's GPUs: NVIDIA's envelope.")
@click.option("--gpu-nonce", type=Hex(), metavar="HEX", help="What those were asked with. [default: the challenge]")
@click.option("--chain", type=click.Path(path_type=Path), metavar="FILE", help="Certificates of an NVIDIA report, PEM.")
@click.option(
    "--workload", "workloads", type=Measurement(), multiple=True, metavar="HEX", help="A workload that may run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def verify(
    path: Path, policy_path: Path, endorsements: Path | None, at: int | None, *, as_json: bool, **options: Any
) -> None:
    """Verify the evidence in FILE (- for standard input) against POLICY: authentic, fresh, and good enough.

    Give what it has to answer with --challenge, or all that it has to carry with --report-data.
    """
    asked = Asked.of(**{name: options[name] for name in ("challenge", "report_data", "anything", "gpu_nonce")})
    policy = read_appraisal_policy(policy_path)
    read = read_vendor_evidence(path, chain=options["chain"], gpus=options["gpus"])
    now = int(time.time()) if at is None else at  # noqa: TID251 - a person asks of now
    judged = judge(policy, read, asked, endorsements, (now, options["workloads"]))
    if as_json:
        say_json(report(judged, policy))
    else:
        show(console(), judged, policy, f"{path}, under {policy_path}")
    judged.examination.require()


def report(judged: Judged, policy: AppraisalPolicy) -> dict[str, object]:
    """The examination as JSON has it."""
    return {
        "accepted": judged.accepted,
        "title": judged.title,
        "platform": judged.platform,
        "at": judged.at,
        "challenge": "not checked" if judged.anything else "checked",
        "workload": "not asked" if not judged.workloads else "asked",
        "unsafe": policy.unsafe,
        "steps": numbered(judged.examination.steps),
        "remedies": {one: REMEDIES[one] for one in judged.examination.failed},
        "notes": judged.notes,
    }


def show(out: Console, judged: Judged, policy: AppraisalPolicy, what: str) -> None:
    """The examination for a person: every step, what is in force, and one line with the verdict."""
    out.print(printable(f"{judged.title}: {what}, as things stood at {day(judged.at)}:\n"))
    show_steps(out, numbered(judged.examination.steps))
    unreached = sum(step.outcome is Outcome.NOT_REACHED for step in judged.examination.steps)
    if unreached:
        out.print(Text(f"     · {NOT_REACHED}", style="dim"))
    out.print()
    warnings = [f"{flag}: {UNSAFE[flag]}" for flag in policy.unsafe]
    warnings += [ANY_WORDS] if judged.anything else []
    for one in warnings:
        out.print(Text(f"! {one}", style="bold red"))
    notes = [*judged.notes, *([] if judged.workloads or judged.alone else [NO_WORKLOAD])]
    for note in notes:
        out.print(printable(f"note: {note}"))
    if judged.accepted:
        out.print(Text(f"ACCEPTED: all {len(judged.examination.steps)} steps passed.", style="bold green"))
        return
    failed, steps = judged.examination.failed, len(judged.examination.steps)
    out.print("\nWhat to do:")
    for remedy in dict.fromkeys(REMEDIES[one] for one in failed):
        out.print(f"  {', '.join(one for one in failed if REMEDIES[one] == remedy)}: {remedy}")
    beside = f"{unreached} were not reached, and " if unreached else ""
    verdict = f"REFUSED: of {steps} steps {beside}{len(failed)} failed: {', '.join(failed)}."
    out.print(Text(f"\n{verdict}", style="bold red"))
