"""The measured half of `cloister node identity`: keys in its memory, evidence, and the files of each certificate."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from cloister.cli.explained.contract_words import moment
from cloister.cli.terminal import say
from cloister.contract.identity_certificate import read_identity
from cloister.errors import Unavailable
from cloister.formats.key_bundle import parse_key_bundle
from cloister.hosting import logs
from cloister.node.device import measured_workload, open_tee
from cloister.node.entries_file import read_entries
from cloister.node.identity import KeptIdentity, issued_identity
from cloister.node.identity_files import IdentityFiles
from cloister.node.identity_tls import HeldIdentity, Speaker
from cloister.node.keys import NodeSecrets
from cloister.node.service import NodeSettings, ServiceNode
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.failover import Failover
from cloister.peers.kms import KmsClient
from cloister.services.gateway.contract import open_contract
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

ONCE_SECONDS: Final = 60.0  # within which `--once` tries again where the KMS cannot be reached
PAUSE_SECONDS: Final = 0.5


class SaidIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of each."""

    name: str
    host: str
    serial: str
    not_before: int
    not_after: int
    folder: str


async def keep_identity(
    settings: NodeSettings, folder: Path, *, once: bool, as_json: bool, while_fed: bool = False
) -> None:
    """Have an identity in `folder` until SIGTERM or SIGINT; or, `while_fed`, until standard input ends.

    Raises:
        UsageError: the folder is not one for a key, or a file of the settings cannot be read.
        Refused: the contract's entries do not follow from each other; with `once`, the KMS refuses.
        Unavailable: with `once`, the KMS cannot be reached.
    """
    logs.configure("node", level=settings.log_level)
    files = IdentityFiles(folder, allow_disk="UnsafeKeysOnDisk" in settings.security.exceptions)
    clock = WitnessedClock(time.time)  # noqa: TID251 - the outermost place that has one
    async with contextlib.AsyncExitStack() as stack:
        obtain = await _obtaining(settings, clock, stack)

        def write(held: HeldIdentity) -> None:
            files.write(held)
            _tell(held, folder, as_json=as_json)

        if once:
            write(await _once(obtain))
            return
        stack.callback(files.remove)
        kept = KeptIdentity(Speaker(b"", clock=clock), obtain, clock=clock)
        kept.renewed = write
        await _until_told(asyncio.create_task(kept.keep()), while_fed=while_fed)


async def _obtaining(
    settings: NodeSettings, clock: WitnessedClock, stack: contextlib.AsyncExitStack
) -> Callable[[], Awaitable[HeldIdentity]]:
    """How this node, which is made here, gets a certificate: of whichever KMS instance its contract's clients take."""
    contract = open_contract(read_entries(settings.contract))
    tee = await asyncio.to_thread(lambda: open_tee(settings.tee(), measured_workload({})))
    node = ServiceNode(tee, NodeSecrets.generate(), contract.line, contract.current, settings.security)
    clients = [KmsClient(url, peers=settings.peers) for url in settings.kms_urls]
    instances = Failover([await stack.enter_async_context(client) for client in clients])
    memory = first_contact(node.policy.constitution)

    async def of(kms: KmsClient) -> HeldIdentity:
        nonlocal memory
        data = parse_key_bundle(await kms.bundle(node.line))
        bundle = examine_bundle(data, node.policy, memory, at=int(clock())).require()
        memory = bundle.memory
        clock.hear(bundle.checkpoint.cosigned_at)
        return await issued_identity(kms, node, bundle)

    async def obtain() -> HeldIdentity:
        return await instances.ask(of)

    return obtain


async def _once(obtain: Callable[[], Awaitable[HeldIdentity]]) -> HeldIdentity:
    async with asyncio.timeout(ONCE_SECONDS) as limit:
        while True:
            try:
                return await obtain()
            except Unavailable:
                if limit.when() is not None and asyncio.get_running_loop().time() + PAUSE_SECONDS > limit.when():  # type: ignore[operator]
                    raise
                await asyncio.sleep(PAUSE_SECONDS)


async def _until_told(keeping: asyncio.Task[None], *, while_fed: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, keeping.cancel)
    if while_fed:
        loop.add_reader(sys.stdin.fileno(), keeping.cancel)  # nothing is ever sent: it is readable when it ends
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


def _tell(held: HeldIdentity, folder: Path, *, as_json: bool) -> None:
    window = held.window
    if not as_json:
        say(f"{held.name} until {moment(window.not_after)}, in {folder}")
        return
    serial = read_identity(held.certificate).certificate.serial_number
    said = SaidIdentity(
        name=str(held.name),
        host=held.name.host,
        serial=f"{serial:032x}",
        not_before=window.not_before,
        not_after=window.not_after,
        folder=str(folder),
    )
    with contextlib.suppress(BrokenPipeError):
        print(msgspec.json.encode(said).decode(), flush=True)  # noqa: T201 - one line each, which a program reads
