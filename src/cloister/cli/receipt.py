"""`cloister receipt`: read a kept receipt, and hold it against the file that was sent and the answer that came."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.client_options import policy_option, read_policy
from cloister.cli.receipt_claims import claims, lines
from cloister.cli.receipt_models import Model, contract_of
from cloister.cli.receipt_signature import given_signature, not_reached, signature_options
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import printable, say_json
from cloister.client.receipts import ReceiptExaminations, load_receipt, verify_receipt
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.examination import Examination
from cloister.formats.contract import Contract
from cloister.formats.model_manifest import ModelManifest
from cloister.formats.trust_policy import TrustPolicy

VERIFY_EPILOG = """\b
Examples:
  cloister receipt verify speech.receipt --request speech.wav --response out.json
  cloister receipt verify speech.receipt --request speech.wav --response out.json --json
  cloister receipt verify answer.receipt --request ask.json --response out.json \\
      --model-signature model.sig --model-signer owner.pub.pem       and that the model was signed by this key

The answer is its bytes as they came (curl -o out.json, or cloister transcribe --receipt-dir). Nobody is asked:
everything is judged from the receipt, as it was at the time of its witnessed checkpoint. A model's signature (cloister
model sign, OpenSSF's model-signing) names every shard of the weights: it holds if they make up the digest in the
receipt. The weights themselves are not needed.
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
@signature_options
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def verify(
    path: Path, sent: Path, came: Path, policy: Path | None, state: StateFolder, *, as_json: bool, **signed: Path | None
) -> None:
    """Verify RECEIPT offline against the file that was sent and the answer that came."""
    given, (trusted, policy_path) = given_signature(**signed), read_policy(policy, state)
    stored = load_receipt(path)
    request, response = _content(sent, "--request"), _content(came, "--response")
    try:
        examined = verify_receipt(stored, trusted, request_file=request, response_file=response)
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is a damaged receipt: {error}") from error
    signature = None if given is None else given.examined(_proved(examined)[1]) if held(examined) else not_reached()
    if as_json:
        say_json(report(examined, trusted, policy_path, signature))
    else:
        show_examined(examined, trusted, policy_path, signature)
    examined.require()
    if signature is not None:
        signature.require()


def held(examined: ReceiptExaminations) -> bool:
    """Whether every step of both chains passed."""
    return examined.receipt is not None and len(examined.receipt.passed) == len(examined.receipt.steps)


def report(
    examined: ReceiptExaminations,
    trusted: TrustPolicy,
    policy_path: Path,
    signature: Examination[ModelManifest] | None = None,
) -> dict[str, object]:
    """All examinations as JSON has them."""
    second = () if examined.receipt is None else examined.receipt.steps
    third = () if signature is None else signature.steps
    steps = numbered([*examined.bundle.steps, *second, *third])
    return {
        "passed": examined.receipt is not None and all(step.outcome == "passed" for step in steps),
        "judged_at": examined.at,
        "trust_policy": str(policy_path),
        "software_tee": SOFTWARE_WORDS if "UnsafeAllowSoftwareTee" in trusted.unsafe else None,
        "answered_by": _answered_by(examined),
        "steps": steps,
    }


def _answered_by(examined: ReceiptExaminations) -> dict[str, object] | None:
    """What a receipt proves of engine and models, where all of it held."""
    if not held(examined):
        return None
    contract, models = _proved(examined)
    return {
        "engine": contract.serving.engine.name,
        "models": models,
        "gateway": examined.require().gateway.hex(),
    }


def show_examined(
    examined: ReceiptExaminations,
    trusted: TrustPolicy,
    policy_path: Path,
    signature: Examination[ModelManifest] | None = None,
) -> None:
    """All examinations for a person."""
    out = console()
    moment = datetime.fromtimestamp(examined.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    out.print(f"The service as it was at {moment}, under {policy_path}:\n")
    first = numbered(examined.bundle.steps)
    show_steps(out, first)
    if examined.receipt is not None:
        out.print("\nThe receipt:\n")
        show_steps(out, numbered(examined.receipt.steps, start=len(first) + 1))
        if held(examined):
            made = datetime.fromtimestamp(examined.require().receipt.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            out.print(f"\nThis answer was given to this request, in the minute of {made}.")
            _show_models(out, examined)
            if signature is not None:
                out.print("\nThe model's signature:\n")
                show_steps(out, numbered(signature.steps, start=len(first) + len(examined.receipt.steps) + 1))
    if "UnsafeAllowSoftwareTee" in trusted.unsafe:
        out.print(SOFTWARE_WORDS)


def _show_models(out: Console, examined: ReceiptExaminations) -> None:
    contract, models = _proved(examined)
    out.print(f"It was answered by {contract.serving.engine.name}, with")
    for model in models:
        out.print(f"  {model.name}, sha256 {model.sha256},\n  {model.sentence}", soft_wrap=True)


def _proved(examined: ReceiptExaminations) -> tuple[Contract, tuple[Model, ...]]:
    """The contract that the answer was given under, and its models."""
    receipt = examined.require().receipt
    return contract_of(examined.bundle.require().bundle, receipt.contract, at=receipt.at)


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from error
