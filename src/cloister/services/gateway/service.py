"""The gateway as a process: measures what it runs, starts the engine, gets its keys, serves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from cloister.errors import CloisterError
from cloister.hosting import logs
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.listening import listen_to_services
from cloister.hosting.loopback import run_until_stopped
from cloister.node.device import open_software_tee
from cloister.node.entries_file import read_entries
from cloister.node.evidence import Tee
from cloister.node.keys import NodeSecrets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.sandbox.closure import ECHO, SPEECH, Engine, StagedEngine, stage, staging_folder
from cloister.sandbox.plan import Plan, plan
from cloister.sandbox.service import EngineService
from cloister.services.gateway.contract import open_contract, trust_policy
from cloister.services.gateway.data_plane import DataPlaneLimits, Gateway, build_gateway, serve_gateway
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.engines import QueueLimits, Supply
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys
from cloister.services.gateway.receipts import SignedReceipts
from cloister.services.gateway.sandbox_engines import SandboxEngines
from cloister.services.gateway.security import GatewaySecurity, Runs, security_settings
from cloister.services.gateway.settings import GatewaySettings

ENGINES: dict[str, Engine] = {"speech": SPEECH, "echo": ECHO}


def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: a file of the settings cannot be read.
        Refused: the contract's entries do not follow from each other.
        SandboxUnavailable: this machine cannot hold the engine as it must be held; nothing was started.
    """
    logs.configure("gateway", level=settings.log_level)
    planned = plan()
    tee = open_software_tee(settings.platform_key, measured_beside(planned))

    async def main(stop: asyncio.Event) -> None:
        await serve(settings, planned, tee, stop, clock=time.time)  # noqa: TID251 - the outermost place that has one

    run_until_stopped(main)


def what_runs(staged: StagedEngine, planned: Plan) -> Runs:
    """The digests of the sandbox, the engine and its model, as found on this machine."""
    return Runs(planned.profile.digest, staged.digest, staged.model_digest)


def measured_beside(planned: Plan) -> dict[str, bytes]:
    """What a gateway measures beside its closure: the profile of the sandbox, by its name in the manifest."""
    return {"sandbox-profile": planned.profile.digest}


async def serve(
    settings: GatewaySettings, planned: Plan, tee: Tee, stop: asyncio.Event, *, clock: Callable[[], float]
) -> None:
    """Serve until `stop` is set; `/ready` once a key is held and the engine answers.

    Raises:
        UsageError, Refused, SandboxUnavailable: as `run`.
    """
    contract = open_contract(read_entries(settings.contract))
    staged = stage(ENGINES[settings.engine], staging_folder(settings.state))
    bound = security_settings(
        settings.security,
        what_runs(staged, planned),
        endpoints=contract.current.endpoints,
        unsafe=contract.current.appraisal.unsafe,
    )
    policy = trust_policy(contract, settings.security)
    node = GatewayNode(tee, NodeSecrets.generate(), bound, contract, policy)
    settings.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = EngineService(planned, staged, settings.run_folder, workers=settings.workers, say=_say)
    async with KmsClient(settings.kms_url, peers=settings.peers) as kms:
        witnessed = WitnessedClock(clock)
        keys = KmsKeys(kms, node, clock=witnessed)
        queue = QueueLimits(
            waiting=settings.waiting_requests,
            waiting_seconds=settings.waiting_seconds,
            engine_seconds=planned.profile.limits.request_seconds,
        )
        engines = SandboxEngines(engine)
        gateway = assemble(node, keys, engines, settings.security, clock=witnessed, queue=queue)
        listening = listen_to_services(settings.address, settings.port, settings.tls)
        async with _running(engine, keys, stop, seconds=settings.fetch_seconds):
            await serve_gateway(gateway, listening.socket, stop, ready=settings.ready, tls=listening.tls)


def assemble(
    node: GatewayNode,
    keys: KmsKeys,
    engines: Supply,
    security: GatewaySecurity,
    *,
    clock: Callable[[], float],
    queue: QueueLimits | None = None,
) -> Gateway:
    """The data plane over these keys and engines, under the contract that the node has bound."""
    contract = node.contract.current
    limits = DataPlaneLimits(
        window_seconds=security.date_window_seconds,
        replay_entries=security.replay_entries,
        http=InboundLimits(body_bytes=security.maximum_request_bytes),
        queue=queue or QueueLimits(),
    )
    receipts = SignedReceipts(node.secrets.sign, contract=contract.digest(), clock=clock)
    return build_gateway(keys, _EnginesWithKeys(engines, keys), contract.endpoints, receipts, now=clock, limits=limits)


@dataclass(frozen=True, slots=True)
class _EnginesWithKeys:
    """Engines, ready only when a key is held too: a gateway without one can open nothing."""

    engines: Supply
    keys: KmsKeys

    def take(self) -> EngineLink | None:
        return self.engines.take()

    def wanted(self, supplied: Callable[[], None], failed: Callable[[CloisterError], None]) -> None:
        self.engines.wanted(supplied, failed)

    def give_back(self, link: EngineLink, *, reusable: bool) -> None:
        self.engines.give_back(link, reusable=reusable)

    def missing(self) -> Sequence[str]:
        return [*self.keys.missing(), *self.engines.missing()]


@contextlib.asynccontextmanager
async def _running(engine: EngineService, keys: KmsKeys, stop: asyncio.Event, *, seconds: float) -> AsyncIterator[None]:
    """The engine's start and the fetching of keys beside the server; if one of them fails, all ends with its error."""
    tasks = [asyncio.create_task(engine.start()), asyncio.create_task(keys.keep_fetching(seconds=seconds))]
    for task in tasks:
        task.add_done_callback(lambda done: stop.set() if not done.cancelled() and done.exception() else None)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await engine.stop()
    for end in ends:
        if isinstance(end, Exception):
            raise end


def _say(sentence: str) -> None:
    structlog.get_logger().warning(sentence)
