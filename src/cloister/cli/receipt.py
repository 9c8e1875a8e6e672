"""`cloister receipt`: read a kept receipt, and hold it against the file that was sent and the answer that came."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.client_options import policy_option, read_policy
from cloister.cli.receipt_claims import claims, lines
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import printable, say_json
from cloister.client.receipts import ReceiptExaminations, load_receipt, verify_receipt
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.trust_policy import TrustPolicy

VERIFY_EPILOG = """\b
Examples:
  cloister receipt verify speech.receipt --request speech.wav --response out.json
  cloister receipt verify speech.receipt --request speech.wav --response out.json --json

The answer is its bytes as they came (curl -o out.json, or cloister transcribe --receipt-dir). Nobody is asked:
everything is judged from the receipt, as it was at the time of its witnessed checkpoint.
"""


SHOW_EPILOG = """\b
Examples:
  cloister receipt show speech.receipt
  cloister receipt show --json speech.receipt | jq -r '.parts[] | select(.name == "file").sha256'
  sha256sum speech.wav                  the same digest, if this is what was sent

A receipt holds no content: digests only, and everything that proves them.
"""


@click.group()
def receipt() -> None:
    """Kept receipts: that this answer was given to this request, by code under the contract."""


@receipt.command(epilog=SHOW_EPILOG, short_help="Show what a receipt says; nothing of it is checked.")
@click.argument("path", metavar="RECEIPT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(path: Path, *, as_json: bool) -> None:
    """Show what RECEIPT says of when, what and by whom. Nothing of it is checked: that is cloister receipt verify."""
    try:
        said = claims(load_receipt(path))
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise UsageError(f"{path} is a damaged receipt: {error}") from error
    if as_json:
        say_json(said)
        return
    for line in lines(said):
        click.echo(printable(line))
    click.echo("\nNothing of this was checked: cloister receipt verify does that.")


@receipt.command(epilog=VERIFY_EPILOG, short_help="Verify a receipt, the file sent and the answer that came, offline.")
@click.argument("path", metavar="RECEIPT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--request", "sent", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What was sent."
)
@click.option("--response", "came", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What came.")
@policy_option
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def verify(path: Path, sent: Path, came: Path, policy: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Verify RECEIPT offline against the file that was sent and the answer that came."""
    trusted, policy_path = read_policy(policy, state)
    stored = load_receipt(path)
    request, response = _content(sent, "--request"), _content(came, "--response")
    try:
        examined = verify_receipt(stored, trusted, request_file=request, response_file=response)
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is a damaged receipt: {error}") from error
    if as_json:
        say_json(report(examined, trusted, policy_path))
    else:
        show_examined(examined, trusted, policy_path)
    examined.require()


def report(examined: ReceiptExaminations, trusted: TrustPolicy, policy_path: Path) -> dict[str, object]:
    """Both examinations as JSON has them."""
    first = numbered(examined.bundle.steps)
    second = () if examined.receipt is None else examined.receipt.steps
    steps = [*first, *numbered(second, start=len(first) + 1)]
    return {
        "passed": examined.receipt is not None and all(step.outcome == "passed" for step in steps),
        "judged_at": examined.at,
        "trust_policy": str(policy_path),
        "software_tee": SOFTWARE_WORDS if "UnsafeAllowSoftwareTee" in trusted.unsafe else None,
        "steps": steps,
    }


def show_examined(examined: ReceiptExaminations, trusted: TrustPolicy, policy_path: Path) -> None:
    """Both examinations for a person."""
    out = console()
    moment = datetime.fromtimestamp(examined.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    out.print(f"The service as it was at {moment}, under {policy_path}:\n")
    first = numbered(examined.bundle.steps)
    show_steps(out, first)
    if examined.receipt is not None:
        out.print("\nThe receipt:\n")
        show_steps(out, numbered(examined.receipt.steps, start=len(first) + 1))
        if len(examined.receipt.passed) == len(examined.receipt.steps):
            made = datetime.fromtimestamp(examined.require().receipt.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            out.print(f"\nThis answer was given to this request, in the minute of {made}.")
    if "UnsafeAllowSoftwareTee" in trusted.unsafe:
        out.print(SOFTWARE_WORDS)


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from error
