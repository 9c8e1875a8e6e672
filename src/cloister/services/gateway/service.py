"""The gateway as a process: measures what it runs, starts the engine, gets its keys, serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from cloister.contract.task_assets import NO_ASSETS, VerifiedTaskAssets, wanted_assets
from cloister.errors import CloisterError
from cloister.hosting import logs
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.listening import Listening, listen_to_services
from cloister.hosting.loopback import announce, port_of, run_until_stopped
from cloister.node.device import measured_workload, open_tee
from cloister.node.entries_file import read_entries
from cloister.node.evidence import Tee
from cloister.node.identity import KeptIdentity, issued_identity
from cloister.node.identity_tls import HeldIdentity, Speaker
from cloister.node.keys import NodeSecrets
from cloister.node.kms_link import KmsLink
from cloister.node.vouched_evidence import Voucher
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.failover import Failover
from cloister.peers.kms import KmsClient
from cloister.peers.verifier import VerifierClient
from cloister.sandbox.closure import StagedEngine, staging_folder
from cloister.sandbox.service import EngineService
from cloister.sandbox.unchanging import unchanging_folder
from cloister.services.gateway.contract import open_contract, trust_policy
from cloister.services.gateway.control import HeldKey, Setup, State
from cloister.services.gateway.crew import Crew
from cloister.services.gateway.data_plane import DataPlaneLimits, Gateway, build_gateway, serve_gateway
from cloister.services.gateway.engine_choice import ChosenEngine, Held, chosen_engine, measured_beside
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.engines import QueueLimits, Supply
from cloister.services.gateway.forking_engines import ForkingEngines
from cloister.services.gateway.given_engine import GivenEngine, Make
from cloister.services.gateway.keys import KeyRing
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys, another_may_release
from cloister.services.gateway.receipts import SignedReceipts
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.security import GatewaySecurity, security_settings
from cloister.services.gateway.settings import GatewaySettings
from cloister.services.gateway.shared_counts import SharedMetrics
from cloister.services.gateway.task_assets import TaskAssets


def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError, MalformedInput: a file of the settings, or the sealed model, cannot be read or is none.
        Refused: the contract's entries do not follow from each other, or the sealed model is not whole.
        SandboxUnavailable: this machine cannot hold the engine as it must be held; nothing was started.
        BelowFloor: it can only hold it in less than the contract wants; no key was asked for.
    """
    logs.configure("gateway", level=settings.log_level)
    floor = open_contract(read_entries(settings.contract)).current.serving.sandbox.tier
    how = Held(settings.sizes, tool=settings.sandbox, devices=settings.devices, floor=floor)
    chosen = chosen_engine(settings.engine, settings.model, how)
    tee = open_tee(settings.tee(), measured_workload(measured_beside(chosen.plan, chosen.engine)))

    async def main(stop: asyncio.Event) -> None:
        await serve(settings, chosen, tee, stop, clock=time.time)  # noqa: TID251 - the outermost place that has one

    run_until_stopped(main)


async def serve(
    settings: GatewaySettings, chosen: ChosenEngine, tee: Tee, stop: asyncio.Event, *, clock: Callable[[], float]
) -> None:
    """Serve until `stop` is set; `/ready` once a key is held and the engine answers.

    Raises:
        UsageError, Refused, SandboxUnavailable: as `run`.
    """
    contract = open_contract(read_entries(settings.contract))
    staged = chosen.staged(stage_folder(settings))
    bound = security_settings(
        settings.security,
        chosen.runs(staged),
        endpoints=contract.current.serving.endpoints,
        unsafe=contract.current.appraisal.unsafe,
    )
    policy = trust_policy(contract, settings.security)
    settings.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    model = chosen.model
    waits = model is not None or bool(wanted_assets(contract.current, contract.current.serving.name, None))
    engine = GivenEngine(_engines(settings, chosen, staged), waits=waits, grace_seconds=settings.grace_seconds)
    async with contextlib.AsyncExitStack() as stack:
        clients = [KmsClient(url, peers=settings.peers) for url in settings.kms_urls]
        ordinary = [await stack.enter_async_context(client) for client in clients]
        voucher = await _voucher(settings, stack)
        node = GatewayNode(tee, NodeSecrets.generate(), bound, contract, policy, voucher)
        witnessed = WitnessedClock(clock)
        digest = None if model is None else model.digest
        handed = None if waits else NO_ASSETS
        assets = TaskAssets(engine.take, engine.withdraw, model=digest, handed=handed)
        if settings.mutual_tls is None:
            keys = KmsKeys(Failover(ordinary), node, clock=witnessed, assets=assets)
        else:
            urls = settings.mutual_tls.kms_urls
            keys = await keys_by_identity(ordinary, urls, node, witnessed, stack, assets=assets)
        limits, at_once = chosen.plan.profile.limits, chosen.engine.at_once or len(os.sched_getaffinity(0))
        served = Served(settings, node, keys, engine, witnessed, limits.request_seconds, at_once)
        listening = listen_to_services(settings.address, settings.port, settings.tls)
        async with _running(engine, keys, stop, seconds=settings.fetch_seconds):
            if settings.gateway_workers == 1:
                await served.by_this_process(listening, stop)
            else:
                await served.by_workers(listening.socket, stop)


def stage_folder(settings: GatewaySettings) -> Path:
    """Where to stage engines: on hardware, where its host cannot change them after they were hashed.

    Raises:
        SandboxUnavailable: it could, in the folder that the settings name.
    """
    if settings.platform != "software":
        return unchanging_folder(settings.stage_folder)
    return settings.stage_folder or staging_folder(settings.state)


def _engines(settings: GatewaySettings, chosen: ChosenEngine, staged: StagedEngine) -> Make:
    """Services of the chosen engine, each with what the parties of one contract gave it."""

    def make(given: VerifiedTaskAssets) -> EngineService:
        return EngineService(
            chosen.plan,
            staged,
            settings.run_folder,
            workers=settings.workers,
            say=_say,
            given=given.sections,
            model=chosen.source(given.model_key),
        )

    return make


async def keys_by_identity(
    ordinary: Sequence[KmsClient],
    urls: Sequence[str],
    node: GatewayNode,
    clock: WitnessedClock,
    stack: contextlib.AsyncExitStack,
    *,
    assets: TaskAssets | None = None,
) -> KmsKeys:
    """Keys that the KMS's instances give over mutual TLS at `urls`; the node's identity is kept while `stack` is."""
    speaker = Speaker(node.line, clock=clock)
    named = [KmsClient(url, speaking=lambda: speaker.client("kms")) for url in urls]
    entered = [await stack.enter_async_context(client) for client in named]
    is_named = lambda: speaker.held is not None  # noqa: E731 - asked each time
    pairs = zip(ordinary, entered, strict=True)
    links = Failover([KmsLink(one, other, is_named=is_named) for one, other in pairs])
    keys = KmsKeys(links, node, clock=clock, assets=assets)
    instances = Failover(ordinary)

    async def obtain() -> HeldIdentity:
        bundle = await keys.bundle()
        return await instances.ask(lambda one: issued_identity(one, keys.node, bundle), passes_on=another_may_release)

    keeping = asyncio.create_task(KeptIdentity(speaker, obtain, clock=clock).keep())
    stack.push_async_callback(_ended, keeping)
    return keys


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _voucher(settings: GatewaySettings, stack: contextlib.AsyncExitStack) -> Voucher | None:
    """Whoever is to vouch for this node, where the settings say so."""
    use = settings.verifier
    if use is None:
        return None
    client = await stack.enter_async_context(VerifierClient(use.url, peers=settings.peers))
    return Voucher(use.name, use.policy, use.audience, client)


@dataclass(frozen=True, slots=True)
class Served:
    """A node that has started, and two ways to serve its clients."""

    settings: GatewaySettings
    node: GatewayNode
    keys: KmsKeys
    engine: GivenEngine
    clock: WitnessedClock
    engine_seconds: float
    at_once: int  # requests that one engine is asked at a time

    async def by_this_process(self, listening: Listening, stop: asyncio.Event) -> None:
        """One process does all."""
        settings = self.settings
        engines = ForkingEngines(self.at_once, missing=self.engine.missing)
        self.engine.follow(lambda one: engines.add(one.address), lambda one: engines.remove(one.address))
        queue = QueueLimits(settings.waiting_requests, settings.waiting_seconds, self.engine_seconds)
        gateway = assemble(self.node, self.keys, engines, settings.security, clock=self.clock, queue=queue)
        await serve_gateway(
            gateway,
            listening.socket,
            stop,
            ready=settings.ready,
            tls=listening.tls,
            grace_seconds=settings.grace_seconds,
        )

    async def by_workers(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Several processes serve; this one keeps engines, evidence and keys, and hands keys to them."""
        security, workers = self.settings.security, self.settings.gateway_workers
        replays = ReplayTable(
            window_seconds=security.date_window_seconds,
            capacity=security.replay_entries,
            started=int(self.clock()),
        )
        metrics = SharedMetrics(workers=workers)
        folders: dict[str, None] = {}
        self.engine.follow(
            lambda one: folders.setdefault(str(one.folder)),
            lambda one: folders.pop(str(one.folder), None),
        )
        crew = Crew(
            self._setup(listener.fileno(), replays.descriptor, metrics.descriptor),
            keys=KeyRing(self.keys, now=self.clock),
            state=lambda: self._state(folders),
        )
        await crew.run(stop, ready=lambda: announce(port_of(listener), self.settings.ready))

    def _setup(self, listener: int, replays: int, counts: int) -> Setup:
        settings = self.settings
        return Setup(
            worker=0,
            workers=settings.gateway_workers,
            listener=listener,
            replays=replays,
            counts=counts,
            sign_seed=self.node.secrets.sign.seed.reveal(),
            tls=settings.tls,
            window_seconds=settings.security.date_window_seconds,
            replay_entries=settings.security.replay_entries,
            request_bytes=settings.security.maximum_request_bytes,
            waiting_requests=max(1, settings.waiting_requests // settings.gateway_workers),
            waiting_seconds=settings.waiting_seconds,
            engine_seconds=self.engine_seconds,
            at_once=max(1, self.at_once // settings.gateway_workers),
            grace_seconds=settings.grace_seconds,
            about={"platform": self.node.tee.platform, "workload": self.node.tee.workload.hex()},
            log_level=settings.log_level,
        )

    def _state(self, folders: Iterable[str]) -> State:
        held = tuple(
            HeldKey(
                key.key_id,
                key.private.kem,
                key.private.secret.reveal(),
                key.epoch,
                key.open_until,
                key.contract,
                key.endpoints.named,
            )
            for key in self.keys.all_held()
        )
        missing = (*self.keys.missing(), *self.engine.missing())
        return State(keys=held, witnessed=int(self.clock.floor()), missing=missing, engines=tuple(folders))


def assemble(
    node: GatewayNode,
    keys: KmsKeys,
    engines: Supply,
    security: GatewaySecurity,
    *,
    clock: Callable[[], float],
    queue: QueueLimits | None = None,
) -> Gateway:
    """The data plane over these keys and engines; each key says under which contract it serves."""
    limits = DataPlaneLimits(
        window_seconds=security.date_window_seconds,
        replay_entries=security.replay_entries,
        http=InboundLimits(body_bytes=security.maximum_request_bytes),
        queue=queue or QueueLimits(),
    )
    receipts = SignedReceipts(node.secrets.sign, clock=clock)
    supply = _EnginesWithKeys(engines, keys)
    gateway = build_gateway(keys, supply, receipts, now=clock, limits=limits)
    gateway.health.about.update(platform=node.tee.platform, workload=node.tee.workload.hex())
    return gateway


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
async def _running(engine: GivenEngine, keys: KmsKeys, stop: asyncio.Event, *, seconds: float) -> AsyncIterator[None]:
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
