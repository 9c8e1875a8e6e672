"""`cloister token`: attestation results, the tokens that a verifier gives of a node, examined offline."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.attest.result import ExpectedResult, VerifiedResult, examine_attestation_result
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.evidence_file import read_evidence
from cloister.cli.terminal import printable, say_json
from cloister.cli.token_claims import lines, told_claims
from cloister.cli.token_expectations import expectation_options, read_option
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.examination import Examination
from cloister.formats.jwk import MAXIMUM_KEY_SET, parse_key_set
from cloister.formats.jws import MAXIMUM_TOKEN

EPILOG = """\b
Examples:
  cloister token verify node.jwt --jwks keys.json --issuer https://verifier.example \\
      --audience https://me.example --nonce 6b3c… --policy gateway.toml --subject 9f2a… --key 4d51…
  curl -s https://verifier.example/.well-known/jwks.json >keys.json
  cloister token verify node.jwt … --any key --accept UnsafeAllowSoftwareTee --json

Nobody is asked: the keys are those of the file, which is as good as the way it came. What a relying party does not
want to hold it says, by --any: nothing is passed over because it was left out. Exit code 3 when a step failed; each id
is explained in docs/formats/checks.md.
"""


@click.group()
def token() -> None:
    """Attestation results: the tokens that a verifier gives of a node."""


@token.command(epilog=EPILOG, short_help="Verify a verifier's token against what you expect, offline.")
@click.argument("path", metavar="TOKEN", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--jwks", "keys", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The verifier's keys."
)
@expectation_options
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    metavar="TIME",
    help="Judge as of then, as 2026-11-21T12:00:00Z.  [default: now]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the steps and claims as JSON.")
def verify(path: Path, *, keys: Path, expected: ExpectedResult, at: datetime | None, as_json: bool) -> None:
    """Verify TOKEN (- for standard input) offline, step by step, and print its claims.

    All that a token says is worth as much as the key set: take it from where you trust the verifier.
    """
    now = int(time.time()) if at is None else int(at.replace(tzinfo=UTC).timestamp())  # noqa: TID251 - a person's clock
    data = read_evidence(path, limit=MAXIMUM_TOKEN).strip(b"\r\n")
    examination = examine_attestation_result(data, _key_set(keys), expected, at=now)
    if as_json:
        say_json(report(examination))
    else:
        show(examination)
    examination.require()


def report(examination: Examination[VerifiedResult]) -> dict[str, object]:
    """The examination as JSON has it; claims only where all steps passed."""
    passed = len(examination.passed) == len(examination.steps)
    claims = examination.require().claims if passed else None
    software = claims is not None and "UnsafeAllowSoftwareTee" in claims.cloister.flags
    return {
        "passed": passed,
        "software_tee": SOFTWARE_WORDS if software else None,
        "steps": numbered(examination.steps),
        "claims": None if claims is None else claims,
    }


def show(examination: Examination[VerifiedResult]) -> None:
    """The examination for a person."""
    out = console()
    show_steps(out, numbered(examination.steps))
    if len(examination.passed) < len(examination.steps):
        return
    claims = examination.require().claims
    out.print()
    for line in lines(told_claims(claims)):
        out.print(printable(line))
    if "UnsafeAllowSoftwareTee" in claims.cloister.flags:
        out.print(f"\n{SOFTWARE_WORDS}")


def _key_set(path: Path) -> dict[str, bytes]:
    try:
        return dict(parse_key_set(read_option(path, "--jwks", MAXIMUM_KEY_SET)))
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"--jwks {path}: {error}") from error
