"""The KMS as a process: its start, its watch over the log, its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from cloister.attest.evidence import EvidenceRejected
from cloister.contract.replay import LogRefused
from cloister.endorsements.asker_limits import AskerLimits
from cloister.endorsements.endorsing import Endorsing, endorsing_of
from cloister.errors import Unavailable
from cloister.hosting import logs
from cloister.hosting.listening import listen_to_services
from cloister.hosting.loopback import listen, run_until_stopped
from cloister.hosting.serving import serve_until
from cloister.hosting.tls import Named, TlsServer
from cloister.node.device import measured_workload, open_tee
from cloister.node.entries_file import read_entries
from cloister.node.evidence import Tee
from cloister.node.keys import NodeSecrets
from cloister.node.kms_link import KmsLink
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.kms.handover import Peer
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.own_identities import OwnIdentities
from cloister.services.kms.routes import routes
from cloister.services.kms.settings import KmsSettings, MutualTls

HANDOVER_SECONDS = 10.0  # for an answer of another instance, which waits for the log and its witnesses
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 2.0


# Each contract's nodes may have AMD asked for so many new chips an hour before anything proved that there is one.
LIMITS = AskerLimits(each=64, all=256)


def run(settings: KmsSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Refused: the constitution does not name this KMS, or the log is another's; the check says what.
        UsageError: a file of the settings cannot be read.
    """
    logs.configure("kms", level=settings.log_level)
    tee = open_tee(settings.tee(), measured_workload({}))

    async def main(stop: asyncio.Event) -> None:
        async with endorsing_of(settings.endorsements, limits=LIMITS) as endorsing:
            await serve_kms(settings, tee, stop, clock=wall_clock, endorsing=endorsing)

    run_until_stopped(main)


def wall_clock() -> int:
    """The host's word on the time; `Kms` holds it against the witnesses'."""
    return int(time.time())  # noqa: TID251 - the outermost place that has one


async def serve_kms(
    settings: KmsSettings,
    tee: Tee,
    stop: asyncio.Event,
    *,
    clock: Callable[[], int],
    endorsing: Endorsing | None = None,
) -> None:
    """Serve until `stop` is set, or until the constitution in force no longer names this KMS.

    Raises:
        Refused, UsageError: as `run`.
    """
    genesis, *successors = read_entries(settings.constitution)
    given = [*successors, *(entry for path in settings.contracts for entry in read_entries(path))]
    instance = Instance(tee, NodeSecrets.generate(), settings.security, settings.sealed_roots)
    async with contextlib.AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(LedgerClient(*settings.ledger_urls, peers=settings.peers))
        clients = [KmsClient(url, seconds=HANDOVER_SECONDS, peers=settings.peers) for url in settings.replicas]
        others: list[Peer] = [await stack.enter_async_context(client) for client in clients]
        kms = Kms(ledger, instance, genesis=genesis, clock=clock, endorsing=endorsing, peers=others)
        own = OwnIdentities(kms)
        if settings.mutual_tls is not None:
            others[:] = await _links(settings.mutual_tls, clients, own, stack)
            await stack.enter_async_context(_served_by_identity(settings, kms, own, stop))
        keeper = asyncio.create_task(keep(kms, given, seconds=settings.follow_seconds))
        keeper.add_done_callback(lambda _: stop.set())
        try:
            about = {"platform": tee.platform, "workload": tee.workload.hex()}
            gives = settings.mutual_tls is None
            unready = kms.unready if gives else own.unready
            app = routes(kms, limits=settings.limits, about=about, gives=gives, unready=unready)
            listening = listen_to_services(settings.address, settings.port, settings.tls)
            await serve_until(
                app, listening.socket, stop, ready=settings.ready, limits=settings.limits, tls=listening.tls
            )
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper


async def _links(
    mutual: MutualTls, ordinary: Sequence[KmsClient], own: OwnIdentities, stack: contextlib.AsyncExitStack
) -> list[Peer]:
    """The other instances, each by its two addresses."""
    named = [KmsClient(url, seconds=HANDOVER_SECONDS, speaking=own.speaking) for url in mutual.replicas]
    return [
        KmsLink(one, await stack.enter_async_context(other), is_named=own.is_named)
        for one, other in zip(ordinary, named, strict=True)
    ]


@contextlib.asynccontextmanager
async def _served_by_identity(
    settings: KmsSettings, kms: Kms, own: OwnIdentities, stop: asyncio.Event
) -> AsyncIterator[None]:
    """Serve the other port beside all else; if it ends, all does."""
    mutual = settings.mutual_tls
    if mutual is None:
        yield
        return
    app = routes(kms, limits=settings.limits)
    listener = listen(mutual.address, mutual.port, secure=True)
    tls = TlsServer(Named(own.context()), frozenset())
    tasks = [
        asyncio.create_task(serve_until(app, listener, stop, limits=settings.limits, tls=tls)),
        asyncio.create_task(own.keep()),
    ]
    tasks[0].add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        stop.set()
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def keep(kms: Kms, given: Sequence[bytes], *, seconds: float) -> None:
    """Start `kms` once the ledger answers, then look at the log every few `seconds`, until cancelled.

    Raises:
        EvidenceRejected: the constitution in force does not name this KMS.
        LogRefused: at the start, the log is another's. Later it is told of and the last good state stays.
    """
    log = structlog.get_logger()
    await _start(kms, given)
    log.info("the KMS serves")
    while True:
        await asyncio.sleep(seconds)
        try:
            await kms.follow()
        except EvidenceRejected:
            raise
        except (LogRefused, Unavailable) as error:
            if kms.trouble != str(error):
                log.warning("the log cannot be followed", reason=str(error))
            kms.trouble = str(error)
        else:
            kms.trouble = ""


async def _start(kms: Kms, given: Sequence[bytes]) -> None:
    wait = FIRST_RETRY_SECONDS
    while True:
        try:
            await kms.start(given)
        except Unavailable as error:
            kms.trouble = str(error)
            structlog.get_logger().info("waiting", reason=kms.trouble)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LAST_RETRY_SECONDS)
        else:
            return
