"""Releases a second of a KMS that logs before it acts, and the time that this adds to each.

    PYTHONPATH=src python bench/kms.py [--alone 120] [--releases 320] [--at-once 16] [--rounds 4]

Witness, ledger and KMS (on the software TEE) are processes of their own; this one is the nodes: each asks for a
challenge, has its TEE report, asks for the key of the epoch, and examines the reply under the bundle of the start. An
entry, a stored blob of evidence and a cosigned checkpoint stand behind each release.

`alone`: one node after the other. Of each release the KMS notes how long it waited for the ledger before the key left:
`added` is that, the latest checkpoint asked for, evidence stored, release logged and witnessed, and each of these is
told by itself; `rest` is all else that the node waited. `at once`: so many nodes at a time, which share the turns of
the ledger; one of them fetches the bundle now and then, which names every release of the epoch, up to 1,024: so rounds
are told one by one, and the last is what a KMS does with a long list. What a write costs that is on disk when it
returns is told beside, since a release waits for three of them: the evidence's, the ledger's, the witness's. A minute
or so; the last line is JSON, with the goal beside the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import contextvars
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
from ledgers import synchronised_ms
from measured import started

from cloister.errors import Unavailable
from cloister.formats import canonical
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.release import ReleaseRequest
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.peers.kms import KmsClient
from cloister.peers.ledger import LedgerClient
from cloister.services.kms.kms import Kms
from cloister.storage.key_file import read_signing_key
from cloister.testing.local_system import LocalSystem
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.memory import first_contact
from cloister.trust.release_reply import AskedFor, examine_reply

KEYS = {
    "log": "log_key",
    "witness": "witness_key",
    "platform": "platform_key",
    "owner": "owner",
    "operator": "operator",
}
STARTS = {"witness": LocalSystem.run_witness, "ledger": LocalSystem.run_log, "kms": LocalSystem.run_kms}
START_SECONDS = 60.0
CALLS = ("checkpoint", "put_blob", "append", "entries")  # of the ledger's, that a release may wait for
BUNDLE_SECONDS = 1.0  # between fetches of the bundle: relays keep one for five, and there are several

# The processes.


def system_in(folder: Path) -> LocalSystem:
    """The system whose keys and papers are in a folder, made there if they are not."""
    system = LocalSystem(folder)
    if not (folder / "log.seed").exists():
        for name, key in KEYS.items():
            system.write_key(name, getattr(system, key))
        system.write_papers()
        return system
    for file, name in KEYS.items():
        setattr(system, name, read_signing_key(folder / f"{file}.seed"))
    (genesis,), (contract,) = (read_entries(folder / f"{name}.entries") for name in ("constitution", "contract"))
    system.constitution = parse_constitution(open_statement(genesis).payload)
    system.contract = parse_contract(open_statement(contract).payload)
    return system


async def serve(name: str, folder: Path) -> None:
    """One service, until it is ended."""
    system = system_in(folder)
    system.ports.update(ports(folder))
    async with contextlib.AsyncExitStack() as stack:
        if name == "kms":
            note_waits(folder / "waits")
        await STARTS[name](system, stack)
        await asyncio.Event().wait()


def ports(folder: Path) -> dict[str, int]:
    """Of the services that run."""
    return {file.stem: int(file.read_text()) for file in folder.glob("*.port")}


def note_waits(path: Path) -> None:
    """Have this process write down, for each release, the milliseconds that each call of the ledger took."""
    waits: contextvars.ContextVar[dict[str, float] | None] = contextvars.ContextVar("waits", default=None)
    file = path.open("w", buffering=1)

    def waiting(name: str, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(original)
        async def timed(*given: object) -> object:
            begin = time.perf_counter()
            try:
                return await original(*given)
            finally:
                if (taken := waits.get()) is not None:
                    taken[name] = taken.get(name, 0.0) + (time.perf_counter() - begin) * 1000

        return timed

    for name in CALLS:
        setattr(LedgerClient, name, waiting(name, getattr(LedgerClient, name)))
    release = Kms.release

    async def noted(self: Kms, data: bytes) -> bytes:
        taken: dict[str, float] = {}
        waits.set(taken)
        reply = await release(self, data)
        file.write(f"{json.dumps(taken)}\n")
        return reply

    setattr(Kms, "release", noted)  # noqa: B010 - mypy


@contextlib.contextmanager
def running(folder: Path) -> Iterator[LocalSystem]:
    """The three of them."""
    system = system_in(folder)
    with contextlib.ExitStack() as stack:
        for name in STARTS:
            process = stack.enter_context(started([sys.executable, __file__, "--role", name, "--folder", str(folder)]))
            ready, end = folder / f"{name}.port", time.monotonic() + START_SECONDS
            while not ready.exists() or not ready.read_text():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the {name} did not start")
                time.sleep(0.02)
            system.ports[name] = int(ready.read_text())
        yield system


# The nodes.


class Node:
    """Asks for the key, again and again, with keys of its own."""

    def __init__(self, system: LocalSystem, kms: KmsClient, bundle: VerifiedBundle) -> None:
        self._node = system.gateway_node()
        self._kms = kms
        self._bundle = bundle
        self._secrets = NodeSecrets.generate()

    async def ask(self) -> float:
        """One release; the milliseconds that it took."""
        node, epoch = self._node, self._bundle.keys.active
        begin = time.perf_counter()
        shown = evidence(
            node.tee,
            challenge=await self._kms.challenge(),
            settings=node.settings,
            subject=node.contract.current.digest(),
            keys=self._secrets.public,
        )
        asked = ReleaseRequest(
            contract=node.contract.line, key_id=epoch.key_config.key_id, evidence=canonical.encode(shown)
        )
        reply = await self._kms.release(asked)
        taken = (time.perf_counter() - begin) * 1000
        expected = AskedFor(epoch, self._secrets.public, self._secrets.wrap)
        examine_reply(reply, expected, self._bundle).require()
        return taken


async def first_bundle(system: LocalSystem, kms: KmsClient) -> VerifiedBundle:
    """The bundle, once there is one."""
    policy, end = system.trust_policy(), time.monotonic() + START_SECONDS
    while True:
        try:
            bundle = parse_key_bundle(await kms.bundle(system.contract.digest()))
            return examine_bundle(bundle, policy, first_contact(policy.constitution), at=int(time.time())).require()
        except Unavailable as error:
            if time.monotonic() > end:
                raise SystemExit("the KMS does not serve") from error
            await asyncio.sleep(0.1)


async def measure(system: LocalSystem, given: argparse.Namespace) -> dict[str, float]:
    """Nodes alone, and then at once, round by round."""
    async with KmsClient(system.url("kms")) as kms:
        bundle = await first_bundle(system, kms)
        nodes = [Node(system, kms, bundle) for _ in range(given.at_once)]
        for node in nodes:
            await node.ask()
        waits = system.folder / "waits"
        before = len(waits.read_text().splitlines())
        synchronised = [synchronised_ms(system.folder)]
        print(f"{given.alone} releases, one after the other", flush=True)
        alone = [await nodes[0].ask() for _ in range(given.alone)]
        waited = [json.loads(line) for line in waits.read_text().splitlines()[before:]]
        added = [sum(one.values()) for one in waited]
        synchronised.append(synchronised_ms(system.folder))
        figures = told("alone", alone) | told("added", added)
        for call in CALLS:
            figures |= told(call, [one.get(call, 0.0) for one in waited])
        figures |= told("rest", [one - other for one, other in zip(alone, added, strict=True)])
        rates = []
        for number in range(given.rounds):
            synchronised.append(synchronised_ms(system.folder))
            begin = time.perf_counter()
            each = given.releases // given.at_once
            fetching = asyncio.create_task(fetch(kms, system.contract.digest()))
            taken = await asyncio.gather(*(several(node, each) for node in nodes))
            fetching.cancel()
            rates.append(each * given.at_once / (time.perf_counter() - begin))
            took = [one for few in taken for one in few]
            print(f"round {number + 1}, {given.at_once} nodes at once: {rates[-1]:.0f} releases/s, ", end="")
            print(f"median {statistics.median(took):.0f} ms", flush=True)
    print(f"a write that is on disk: {min(synchronised):.2f} to {max(synchronised):.2f} ms")
    figures["synchronised_ms"] = round(statistics.median(synchronised), 2)
    figures["alone_per_s"] = round(1000 / statistics.mean(alone), 1)
    return figures | {"releases_per_s": round(rates[0], 1), "last_releases_per_s": round(rates[-1], 1)}


async def fetch(kms: KmsClient, line: bytes) -> None:
    """The bundle, again and again, until cancelled."""
    while True:
        await kms.bundle(line)
        await asyncio.sleep(BUNDLE_SECONDS)


async def several(node: Node, times: int) -> list[float]:
    """One node's releases, one after the other."""
    return [await node.ask() for _ in range(times)]


def told(name: str, taken: list[float]) -> dict[str, float]:
    """Print median and 95th percentile."""
    middle, high = statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
    print(f"{name:>10}: median {middle:6.1f} ms ({min(taken):.1f} to {max(taken):.1f}), 95 %: {high:.1f} ms")
    return {f"{name}_ms": round(middle, 1), f"{name}_p95_ms": round(high, 1)}


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=320, help="of a round, at once")
    parser.add_argument("--alone", type=int, default=120, help="releases, one after the other")
    parser.add_argument("--at-once", type=int, default=16, help="nodes")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--role", choices=list(STARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        uvloop.run(serve(given.role, given.folder))
        return
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as system:
        figures = uvloop.run(measure(system, given))
    print(json.dumps(figures | {"goals": {"added_ms": 25}}))


if __name__ == "__main__":
    main()
