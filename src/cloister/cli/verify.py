"""`cloister verify`: the client's whole examination of a service, for a person or a program to read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from cloister.attest.evidence import SOFTWARE_WORDS
from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.client_options import Service, service, service_options
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import say_json
from cloister.examination import Examination
from cloister.formats.trust_policy import KEM_NAMES
from cloister.trust.bundle import VerifiedBundle

EPILOG = """\b
Examples:
  cloister verify
  cloister verify --json | jq '.steps[] | select(.outcome != "passed")'
  cloister verify --policy acme.toml --relay https://relay.acme.example

Nothing is sent but the request for the key bundle, which is the same for every client. Exit code 3 when a step
failed; each id is explained in docs/formats/checks.md.
"""


@click.command(epilog=EPILOG)
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def verify(*, as_json: bool, **options: Path | StateFolder | None) -> None:
    """Fetch the service's key bundle and examine it, step by step.

    These are the checks that every request depends on: they run before anything leaves this machine.
    """
    target = service(**options)  # type: ignore[arg-type]  # click gives each its own type
    examination = asyncio.run(_examine(target))
    if as_json:
        say_json(report(target, examination))
    else:
        show(target, examination)
    examination.require()


async def _examine(target: Service) -> Examination[VerifiedBundle]:
    async with target.session() as session:
        return await session.examine()


def report(target: Service, examination: Examination[VerifiedBundle]) -> dict[str, object]:
    """The examination as JSON has it."""
    steps = numbered(examination.steps)
    passed = len(examination.passed) == len(examination.steps)
    return {
        "passed": passed,
        "relay": target.relay_url,
        "trust_policy": str(target.policy_path),
        "software_tee": SOFTWARE_WORDS if accepts_software(target) else None,
        "steps": steps,
        "verified": _verified(examination.require()) if passed else None,
    }


def show(target: Service, examination: Examination[VerifiedBundle]) -> None:
    """The examination for a person."""
    out = console()
    out.print(f"The service behind {target.relay_url}, under {target.policy_path}:\n")
    show_steps(out, numbered(examination.steps))
    out.print()
    if len(examination.passed) == len(examination.steps):
        verified = _verified(examination.require())
        out.print(f"All {len(examination.steps)} steps passed. Requests are encrypted to {verified['key']}.")
    if accepts_software(target):
        out.print(SOFTWARE_WORDS)


def accepts_software(target: Service) -> bool:
    """Whether the trust policy takes a software TEE: then that sentence belongs under everything it led to."""
    return "UnsafeAllowSoftwareTee" in target.policy.unsafe


def _verified(bundle: VerifiedBundle) -> dict[str, object]:
    names = {number: name for name, number in KEM_NAMES.items()}
    active = bundle.keys.active
    return {
        "key": f"epoch {active.number}, {names[active.key_config.kem]}",
        "contract": bundle.contract.digest().hex(),
        "constitution": bundle.constitution.digest().hex(),
        "log_size": bundle.checkpoint.size,
        "cosigned_at": bundle.checkpoint.cosigned_at,
        "platform": bundle.kms.platform,
        "gateways": [gateway.sign.hex() for gateway in bundle.keys.gateways],
    }
