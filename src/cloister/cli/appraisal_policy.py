"""`cloister appraisal-policy`: what a policy takes and lets pass, in sentences; and strict ones to begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.explained.policy import PolicySaid, explain_policy
from cloister.cli.explained.policy_words import Said
from cloister.cli.policy_examples import EXAMPLES, example_text
from cloister.cli.terminal import printable
from cloister.errors import MalformedInput, UsageError
from cloister.formats.appraisal_policy import AppraisalPolicy
from cloister.formats.appraisal_policy_file import MAXIMUM_POLICY, parse_appraisal_policy

NOTHING_TAKEN: Final = "It names no platform: it takes no evidence at all."
EXPLAIN_EPILOG = """\b
Examples:
  cloister appraisal-policy explain policy.toml
  cloister appraisal-policy explain --json policy.toml | jq -r '.platforms[].relaxes[].says'

What is relaxed is not forbidden: it is what somebody who relies on the policy should have decided. Exit code 2 for a
file that is no policy, with the key and its line.
"""
EXAMPLE_EPILOG = """\b
Examples:
  cloister appraisal-policy example snp >policy.toml
  cloister appraisal-policy example tdx --gpus 8 >policy.toml
  cloister appraisal-policy explain policy.toml

It denies by default: its lists of measurements, chips and versions are empty, and what is in them is taken. Fill them
from what you built and measured, and with cloister evidence show from machines that you trust.
"""


@click.group("appraisal-policy")
def appraisal_policy() -> None:
    """Appraisal policies: what evidence of hardware has to meet."""


@appraisal_policy.command(epilog=EXPLAIN_EPILOG, short_help="Say what a policy takes, and what it lets pass.")
@click.argument("path", metavar="POLICY", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def explain(path: Path, *, as_json: bool) -> None:
    """Say in sentences what POLICY demands of evidence, and what it does not check, relaxes or accepts."""
    said = explain_policy(read_appraisal_policy(path))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(said)).decode())
    else:
        show(console(), said)


@appraisal_policy.command(epilog=EXAMPLE_EPILOG, short_help="Print a strict policy to begin from.")
@click.argument("platform", metavar="PLATFORM", type=click.Choice(list(EXAMPLES)))
@click.option("--gpus", type=click.IntRange(0, 64), default=0, metavar="COUNT", help="With so many NVIDIA GPUs.")
def example(platform: str, gpus: int) -> None:
    """Print a strict, commented policy for PLATFORM, in which every list is still empty.

    PLATFORM is snp, tdx, azure-snp, azure-tdx or nitro.
    """
    click.echo(example_text(platform, gpus=gpus), nl=False)


def read_appraisal_policy(path: Path) -> AppraisalPolicy:
    """The policy in a file.

    Raises:
        UsageError: it cannot be read.
        TooLarge, MalformedInput: it is none; the file, the key and its line are named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_POLICY + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return parse_appraisal_policy(data)
    except MalformedInput as error:
        raise MalformedInput(f"{path}: {error}") from error


def show(out: Console, said: PolicySaid) -> None:
    """A policy for a person."""
    out.print(f"Roots: {said.roots}")
    if said.relaxes:
        out.print(Text("\nExceptions in force everywhere", style="bold"))
        _show(out, "!", said.relaxes, "bold red")
    for one in said.platforms:
        out.print(Text(f"\n{one.title} ({one.platform})", style="bold"))
        out.print("  demanded")
        _show(out, "✓", one.takes, "")
        out.print("  not checked, relaxed or accepted")
        _show(out, "!", one.relaxes, "bold red")
        if not one.relaxes:
            out.print("    nothing")
        if one.denies:
            out.print(f"  as it stands nothing passes, since these are empty: {printable(', '.join(one.denies))}")
    out.print(f"\nNot taken: {', '.join(said.refused)}." if said.refused else "")
    if not said.platforms:
        out.print(NOTHING_TAKEN)


def _show(out: Console, mark: str, sentences: tuple[Said, ...], style: str) -> None:
    width = max((len(one.key) for one in sentences), default=0)
    for one in sentences:
        line = Text("    ") + Text(mark, style=style) + Text(f" {printable(one.key):<{width}}  {printable(one.says)}")
        out.print(line)
