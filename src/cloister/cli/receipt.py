"""`cloister receipt verify`: hold a kept receipt against the file that was sent and the answer that came, offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.client_options import policy_option, read_policy
from cloister.cli.state_folder import StateFolder, state_option
from cloister.client.receipts import ReceiptExaminations, load_receipt, verify_receipt
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.trust_policy import TrustPolicy

VERIFY_EPILOG = """\b
Examples:
  cloister receipt verify speech.receipt --request speech.wav --response out.json
  cloister receipt verify speech.receipt --request speech.wav --response out.json --json

The answer is its bytes as they came (curl -o out.json, or cloister transcribe --receipt-dir). Nobody is asked:
everything is judged from the receipt, as it was at the time of its witnessed checkpoint.
"""


@click.group()
def receipt() -> None:
    """Check kept receipts: that this answer was given to this request, by code under the contract."""


@receipt.command(epilog=VERIFY_EPILOG)
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
        click.echo(msgspec.json.format(msgspec.json.encode(report(examined, trusted, policy_path))).decode())
    else:
        show(examined, trusted, policy_path)
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


def show(examined: ReceiptExaminations, trusted: TrustPolicy, policy_path: Path) -> None:
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
