"""A witness's life from start to stop."""

from __future__ import annotations

import asyncio
import time

import structlog

from cloister.errors import UsageError
from cloister.formats.checkpoint import ED25519, parse_vkey
from cloister.formats.constitution import Log
from cloister.hosting import logs
from cloister.hosting.listening import listen_to_services
from cloister.hosting.loopback import run_until_stopped
from cloister.hosting.serving import serve_until
from cloister.ledger.cosignatures import WitnessKeys, verifier_keys
from cloister.services.witness.routes import build
from cloister.services.witness.settings import WitnessSettings
from cloister.services.witness.witness import Witnessing
from cloister.storage.database_file import advising
from cloister.storage.key_file import read_ml_dsa_key, read_signing_key
from cloister.storage.opening import open_database
from cloister.storage.witness_store import WitnessStore

DAMAGED = (
    "The witness does not start: one that forgot what it cosigned would cosign a fork. Keep this folder, and give the"
    " witness a new name and key, which constitutions have to name (docs/faults.md)"
)


def run(settings: WitnessSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises as `serve_witness`."""
    logs.configure("witness", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_witness(settings, stop)

    run_until_stopped(main)


async def serve_witness(settings: WitnessSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set.

    Raises:
        UsageError: settings that make no sense.
        CorruptStore: its memory is damaged. A witness that forgot would cosign a fork: give it a new name and key.
        Unavailable: another process has the database, it cannot be reached, or the port is taken.
    """
    keys = _keys(settings)
    structlog.get_logger().info("cosigns by these keys", vkeys=verifier_keys(keys.named(settings.name)))
    logs = _logs(settings)
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with advising(DAMAGED):
        database = await open_database(settings.database, settings.folder, service="witness")
    try:
        store = WitnessStore(database)
        with advising(DAMAGED):
            await store.check()
        witnessing = Witnessing(settings.name, keys, logs, store, clock=_now)
        listening = listen_to_services(settings.address, settings.port, settings.tls)
        limits = settings.limits
        app = build(witnessing, checks=[database.probe], limits=limits)
        await serve_until(app, listening.socket, stop, ready=settings.ready, limits=limits, tls=listening.tls)
    finally:
        await database.close()


def _keys(settings: WitnessSettings) -> WitnessKeys:
    ml_dsa = None if settings.ml_dsa_key is None else read_ml_dsa_key(settings.ml_dsa_key)
    return WitnessKeys(read_signing_key(settings.key), ml_dsa)


def _logs(settings: WitnessSettings) -> dict[str, Log]:
    logs = {}
    for text in settings.logs:
        key = parse_vkey(text)
        if key.kind != ED25519:
            raise UsageError(f"the verifier key of {key.name} is a witness's (type 04), not a log's (01)")
        logs[key.name] = Log(origin=key.name, key=key.public)
    if len(logs) != len(settings.logs) or not logs:
        raise UsageError("a witness watches one log or more, each of its own origin")
    return logs


def _now() -> int:
    return int(time.time())  # noqa: TID251 - a cosignature's time is this machine's, which is what it attests
