"""The ledger's life from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from functools import partial

from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput, Unavailable, UsageError
from cloister.hosting import logs
from cloister.hosting.listening import listen_to_services
from cloister.hosting.loopback import run_until_stopped
from cloister.hosting.serving import serve_until
from cloister.ledger.foreign_statements import Issuers, open_entries
from cloister.peers.witness import WitnessClient
from cloister.services.ledger.log_opening import open_log
from cloister.services.ledger.quorum import Quorum
from cloister.services.ledger.routes import Log, build
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.ledger.witnesses import named_witnesses
from cloister.services.ledger.writers import Writers
from cloister.storage.database_file import advising
from cloister.storage.key_file import read_signing_key

FRETTING_SECONDS = 2.0  # between tries while nothing can be cosigned

DAMAGED = (
    "The ledger does not start: keep this folder, put a copy of it in its place that was taken later than the last"
    " entry, or begin a new log with a new key (docs/faults.md); a copy that is older than that, its witnesses refuse"
)


def run(settings: LedgerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises as `serve_ledger`."""
    logs.configure("ledger", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_ledger(settings, stop)

    run_until_stopped(main)


async def serve_ledger(settings: LedgerSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set.

    Raises:
        UsageError: settings that make no sense.
        CorruptStore: the stored log is damaged, or not what its witnesses cosigned.
        Unavailable: another process has the database, it cannot be reached, or the port is taken.
    """
    key = read_signing_key(settings.key)
    witnesses, issuers = named_witnesses(settings), _issuers(settings)
    per_second = settings.write_bytes_per_second
    writers = Writers(settings.writers, settings.tls, per_second=per_second, clock=time.monotonic)
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    listening = listen_to_services(settings.address, settings.port, settings.tls)
    async with AsyncExitStack() as stack:
        stack.callback(listening.socket.close)
        stack.enter_context(advising(DAMAGED))
        callers = [
            (
                witness,
                await stack.enter_async_context(
                    WitnessClient(witness.name, url, seconds=settings.witness_seconds, peers=settings.peers)
                ),
            )
            for witness, url in witnesses
        ]
        quorum = Quorum(callers, needed=settings.quorum)
        port = listening.socket.getsockname()[1]
        opened = await stack.enter_async_context(open_log(settings, key, quorum, port))
        renewing = asyncio.create_task(keep_cosigned(opened.sequencer, seconds=settings.renew_seconds))
        stack.callback(renewing.cancel)
        log = Log(opened.sequencer, opened.blobs, key, partial(open_entries, issuers=issuers), writers, issuers)
        app = build(log, checks=[opened.probe], limits=settings.limits)
        await serve_until(app, listening.socket, stop, ready=settings.ready, limits=settings.limits, tls=listening.tls)


async def keep_cosigned(sequencer: Sequencer, *, seconds: float) -> None:
    """Have the log's checkpoint cosigned again whenever that was not done for `seconds`, until cancelled."""
    while True:
        with contextlib.suppress(Unavailable):  # the sequencer says so, and so does /ready
            if sequencer.quiet_for() >= seconds or sequencer.missing():
                await sequencer.renew()
        await asyncio.sleep(min(seconds, FRETTING_SECONDS) if sequencer.missing() else seconds)


def _issuers(settings: LedgerSettings) -> Issuers:
    found: dict[str, list[VerificationKey]] = {}
    for one in settings.scitt:
        try:
            key = VerificationKey.parse_pem(one.key.read_bytes())
        except (OSError, MalformedInput) as error:
            raise UsageError(f"the key of {one.issuer}, {one.key}, cannot be used: {error}") from error
        found.setdefault(one.issuer, []).append(key)
    return found
