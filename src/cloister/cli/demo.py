"""`cloister demo`: one spoken sentence through a whole system, and the chain that protected it, step by step."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click
from rich.console import Console

from cloister.cli.chain import console, numbered, show_steps
from cloister.cli.local.settings import read_settings
from cloister.cli.local.stopping import end_on_signals, stop_requested, unless
from cloister.cli.local.system import System, exclusive, prepare
from cloister.cli.local.terms import trust_policy
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import printable, say
from cloister.client.receipts import verify_receipt
from cloister.client.session import Answer
from cloister.client.transcription import Wishes, transcribed_text, transcription_request
from cloister.errors import Refused
from cloister.examination import Examination, Outcome, Step
from cloister.formats.release import Release, parse_release
from cloister.ledger.statements import open_statement
from cloister.tee.software import SENTENCE
from cloister.trust.bundle import VerifiedBundle

EPILOG = """\b
Examples:
  cloister demo
  cloister demo > chain.txt

It takes about half a minute, and needs what cloister up needs: cloister doctor says what is missing.
"""
SPEECH = "demo.wav"  # its words and origin are in demo.wav.txt


@click.command(epilog=EPILOG)
def demo() -> None:
    """Show it all on one spoken sentence, and clean up.

    Starts a whole system in a folder of its own, transcribes one sentence through it, prints the transcript and every
    check that stood between the sentence and anyone else, and ends everything it started.
    """
    started = time.monotonic()
    end_on_signals()
    with tempfile.TemporaryDirectory(prefix="cloister-demo-") as folder:
        state = StateFolder(Path(folder))
        with exclusive(state):
            settings = read_settings(state, {}, engine="speech")
            system = System(prepare(state, settings, say, clock=time.time), say)  # noqa: TID251
            finished = asyncio.run(_run(system))
    if not finished:
        raise click.Abort
    say(f"everything that was started has ended; {time.monotonic() - started:.0f} s in all")


async def _run(system: System) -> bool:
    with stop_requested() as stop:
        try:
            return await unless(stop, _show(system))
        finally:
            await system.stop()


async def _show(system: System) -> None:
    speech = files("cloister.cli").joinpath(SPEECH).read_bytes()
    await system.start()
    async with system.session() as session:
        examination = await session.examine()
        bundle = examination.require()
        system.say(f"sending {SPEECH}, {len(speech)} bytes of speech, to {bundle.contract.serving.endpoints[0].path}")
        answer = await session.send(transcription_request(speech, Wishes(model="whisper-1")))
    receipt = verify_receipt(
        answer.receipt,
        trust_policy(system.prepared.terms),
        request_file=speech,
        response_file=answer.response.body,
    )
    receipt.require()
    out = console()
    out.print(f"\n  “{printable(transcribed_text(answer.response))}”\n")
    _show_chain(
        out, examination, release_to(receipt.bundle.require(), answer), receipt.receipt.steps if receipt.receipt else ()
    )
    out.print(f"\n{SENTENCE}")


def _show_chain(
    out: Console, examination: Examination[VerifiedBundle], release: Release, receipt: Sequence[Step]
) -> None:
    """The three chains as one numbered list."""
    released = [Step(check, Outcome.PASSED) for check in release.checks]
    second = len(examination.steps) + 1
    third = second + len(released)
    out.print("This client checked, before anything left this machine:\n")
    show_steps(out, numbered(examination.steps))
    out.print("\nThe KMS checked, before the gateway got the key (as its release in the witnessed log says):\n")
    show_steps(out, numbered(released, start=second))
    out.print("\nThis client checked, before the answer was shown, and anyone can check it offline for good:\n")
    show_steps(out, numbered(receipt, start=third))


def release_to(bundle: VerifiedBundle, answer: Answer) -> Release:
    """The logged release with which the gateway that answered got the key that opened the request.

    Raises:
        Refused: the bundle shows none; a verified receipt rules that out.
    """
    for logged in bundle.bundle.releases:
        release = parse_release(open_statement(logged.entry).payload)
        if (release.node.sign, release.epoch) == (answer.verified.gateway, answer.verified.epoch.digest):
            return release
    raise Refused("receipt.key", "the bundle shows no release to the gateway that answered")
