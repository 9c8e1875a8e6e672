"""`cloister exec`: a program and a proxy of its own, which lives in this process for as long as the program runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from cloister.cli.client_options import Service, privacy_option, service, service_options
from cloister.cli.passed_signals import PassedSignals
from cloister.cli.pointed import pointed
from cloister.cli.state_folder import StateFolder
from cloister.errors import UsageError
from cloister.hosting.listening import listen_with_tokens
from cloister.hosting.loopback import LOOPBACK, port_of
from cloister.ohttp.privacy import Privacy
from cloister.secret import SecretBytes
from cloister.services.proxy.callers import OneCaller
from cloister.services.proxy.door import Door
from cloister.services.proxy.service import Proxy, serve_callers

SIGNALLED = 128  # and the signal's number: what a shell says of a program that a signal ended
EPILOG = """\b
Examples:
  cloister exec -- python transcribe.py
  cloister exec --relay https://relay.example --policy trust-policy.toml -- node app.js

The program finds OPENAI_BASE_URL and OPENAI_API_KEY set, and keeps what else is in the environment. The key is made
for it and is nowhere but in its environment. The service is examined first: where it is refused, nothing starts.
Receipts are kept. The exit code is the program's, 128 and the signal's number where a signal ended it.
"""


@click.command(name="exec", epilog=EPILOG, context_settings={"allow_interspersed_args": False})
@click.argument("program", metavar="PROGRAM [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--receipt-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the receipts there.  [default: receipts beside the trust policy]",
)
@privacy_option
@service_options
def exec_(
    program: Sequence[str], *, receipt_dir: Path | None, privacy: Privacy, **options: Path | StateFolder | None
) -> int:
    """Run a program whose OpenAI client goes through a proxy of its own, which ends with it."""
    named = service(**options)  # type: ignore[arg-type]  # click gives each its own type
    target = replace(named, privacy=privacy)
    receipts = target.policy_path.with_name("receipts") if receipt_dir is None else receipt_dir
    return asyncio.run(_served(program, target, receipts))


async def _served(program: Sequence[str], target: Service, receipts: Path) -> int:
    """Run the program while its proxy is served; its exit code."""
    token = SecretBytes(secrets.token_urlsafe(32).encode())
    async with target.session() as session:
        await session.hold()  # a refusal is better said before the program runs than by it
        listening = listen_with_tokens(LOOPBACK, 0, None)
        with contextlib.closing(listening.socket):
            port, stop = port_of(listening.socket), asyncio.Event()
            proxy = Proxy(session, door=Door.on_this_machine(OneCaller(token), port), receipts=receipts)
            serving = asyncio.create_task(serve_callers(proxy, listening, stop))
            try:
                return await _run(program, _environment(port, token))
            finally:
                stop.set()
                await serving


def _environment(port: int, token: SecretBytes) -> Mapping[str, str]:
    own = os.environ  # noqa: TID251 - it is handed on
    return {**own, **pointed(own, f"http://{LOOPBACK}:{port}/v1", token.reveal().decode())}


async def _run(program: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the program to its end, with the signals that this process gets.

    Raises:
        UsageError: it cannot be started.
    """
    with PassedSignals() as signals:
        try:
            process = await asyncio.create_subprocess_exec(*program, env=environ)
        except OSError as error:
            raise UsageError(f"{program[0]} cannot be run: {error.strerror}") from error
        _keep_to_itself()
        signals.go_to(process)
        code = await process.wait()
    return code if code >= 0 else SIGNALLED - code


def _keep_to_itself() -> None:
    """No core dump of this process, which holds what the program says; the program's own limit stays."""
    if sys.platform != "win32":
        from cloister.hosting.core_dumps import forbid_core_dumps  # noqa: PLC0415 - Windows has no such limits

        forbid_core_dumps()
