"""The options of `cloister deploy`: which machines, how they are known, who signs; and the machines as they are now."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.terminal import say
from cloister.crypto.signing import PUBLIC_SIZE, BadSignature, SigningKey
from cloister.errors import MalformedInput, TooLarge, Unavailable, UsageError
from cloister.formats.deployment_state import DeploymentState, RevisionState
from cloister.formats.node_manifest import MAXIMUM_REVISIONS, NodeManifest
from cloister.formats.runtime_log import lower_hex
from cloister.hosting.tls import PeerTls
from cloister.peers.deployment import DeploymentClient
from cloister.services.deployment.examination import ManifestRefused
from cloister.services.deployment.signed_manifest import open_node_manifest
from cloister.storage.key_file import read_signing_key

Operators = frozenset[bytes] | None  # the public keys whose revisions are taken for true; None: nothing will be signed


@dataclass(frozen=True, slots=True)
class Access:
    """Which machines, and how those elsewhere are known."""

    urls: tuple[str, ...]
    peers: PeerTls | None

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[list[DeploymentClient]]:
        """A client of each, in the order in which they were named.

        Raises:
            UsageError: a URL is none, or of another machine without TLS.
        """
        async with contextlib.AsyncExitStack() as stack:
            made = [DeploymentClient(url, peers=self.peers) for url in self.urls]
            yield [await stack.enter_async_context(client) for client in made]

    @contextlib.asynccontextmanager
    async def machines(self) -> AsyncIterator[Machines]:
        """All of them, asked now.

        Raises:
            Unavailable: one does not answer.
            UsageError: they are of several deployments, or one was named twice.
        """
        async with self.clients() as clients:
            states = await asyncio.gather(*[client.state() for client in clients])
            machines = Machines([Machine(client, state) for client, state in zip(clients, states, strict=True)])
            machines.require_one_deployment()
            yield machines


@dataclass(frozen=True, slots=True)
class Wish:
    """How a revision is to be made, and whether it is to be sent at all."""

    key: SigningKey | None  # None: it is not sent
    colleagues: frozenset[bytes]  # public keys of the other operators
    as_json: bool

    @property
    def operators(self) -> Operators:
        """Whose revisions are built upon."""
        return None if self.key is None else self.colleagues | {self.key.public}

    def tell(self, sentence: str) -> None:
        """Tell a person, where no program reads."""
        if not self.as_json:
            say(sentence)


@dataclass(slots=True)
class Machine:
    """One machine, and its state as it was asked last."""

    client: DeploymentClient
    state: DeploymentState

    @property
    def name(self) -> str:
        """Its own name of itself."""
        return self.state.machine

    @property
    def head(self) -> int:
        """The number of the last revision that it took; 0 where it has none."""
        return 0 if self.state.head is None else self.state.head.number

    async def revision(self, shown: RevisionState, operators: Operators) -> NodeManifest:
        """A revision that it says it has, once an operator's signature on it holds and it is that one.

        Who signs what follows it, or what it says, must not have it from the machine's word alone.

        Raises:
            ManifestRefused: it is not by one of the `operators`.
            Unavailable: the machine does not answer, or with something else.
        """
        try:
            opened = open_node_manifest(await self.client.revision(shown.number))
        except (BadSignature, MalformedInput, TooLarge) as error:
            raise Unavailable(f"{self.name} shows something else for revision {shown.number}: {error}") from error
        manifest = opened.manifest
        if operators is not None and opened.signer not in operators:
            raise ManifestRefused(
                "manifest.operator",
                f"revision {shown.number} of {self.name} is signed by {opened.signer.hex()}, whose key this is not; if"
                " that is another operator of yours, say so with --operator",
            )
        if manifest.number != shown.number or manifest.digest().hex() != shown.digest:
            raise Unavailable(f"{self.name} shows another revision for {shown.number} than it says that it has")
        return manifest


@dataclass(slots=True)
class Machines:
    """The machines of one deployment."""

    all: list[Machine]

    @property
    def leader(self) -> Machine:
        """One that took the newest revision."""
        return max(self.all, key=lambda machine: machine.head)

    @property
    def deployment(self) -> str:
        """Its name."""
        return self.all[0].state.deployment

    def require_one_deployment(self) -> None:
        """Refuse machines that do not belong together.

        Raises:
            UsageError: they are of several deployments, or one was named twice.
        """
        deployments = sorted({machine.state.deployment for machine in self.all})
        if len(deployments) > 1:
            raise UsageError(f"the machines are of several deployments ({', '.join(deployments)}): name those of one")
        names = [machine.name for machine in self.all]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two --machine are called {twice}: name each machine once, and give each its own name")

    async def head(self, operators: Operators) -> NodeManifest | None:
        """The newest revision that any took, once every machine's own is found to be on the way to it.

        Raises:
            ManifestRefused: a machine has another history, or it is not by one of the `operators`.
            Unavailable: one does not answer as it should.
        """
        leader = self.leader
        known = {shown.number: shown.digest for shown in leader.state.revisions}
        for machine in self.all:
            shown = machine.state.head
            if shown is not None and known.get(shown.number, shown.digest) != shown.digest:
                raise ManifestRefused(
                    "manifest.previous",
                    f"revision {shown.number} of {machine.name} is another than that of {leader.name}: one of them"
                    " took a manifest that the other did not; begin that machine anew, with `first` in its settings",
                )
        return None if leader.state.head is None else await leader.revision(leader.state.head, operators)

    async def in_force(self, operators: Operators) -> NodeManifest:
        """The revision that is in force on all of them.

        Raises:
            UsageError: there is none, or it is not the same one.
            ManifestRefused: it is not by one of the `operators`.
        """
        found = {machine.name: machine.state.in_force for machine in self.all}
        if len({None if one is None else one.digest for one in found.values()}) != 1:
            said = ", ".join(f"{name} {'none' if one is None else one.number}" for name, one in found.items())
            raise UsageError(f"the machines have different revisions in force ({said}): apply one to all of them first")
        shown = self.leader.state.in_force
        if shown is None:
            raise UsageError("no revision is in force: apply a manifest first")
        return await self.leader.revision(shown, operators)

    async def missed(self, machine: Machine) -> list[bytes]:
        """The revisions that `machine` lacks of those before the next, as they were signed: of all, the newest alone.

        Raises:
            UsageError: more than one request takes.
            Unavailable: the leader does not answer.
        """
        begin = machine.head + 1 if machine.head else max(machine.state.first, self.leader.head)
        numbers = range(begin, self.leader.head + 1)
        if len(numbers) >= MAXIMUM_REVISIONS:
            raise UsageError(
                f"{machine.name} missed {len(numbers)} revisions, and one request has up to {MAXIMUM_REVISIONS}: begin"
                f" it anew, with first = {self.leader.head + 1} in its settings"
            )
        return [await self.leader.client.revision(number) for number in numbers]


def machine_options(command: Callable[..., Any]) -> Any:
    """The options that name machines, given to the command as `access`."""

    @functools.wraps(command)
    def with_access(*, urls: Sequence[str], tls: tuple[Path, Path, Path] | None, **others: Any) -> Any:
        peers = None if tls is None else PeerTls(ca=tls[0], certificate=tls[1], key=tls[2])
        return command(access=Access(tuple(urls), peers), **others)

    file = click.Path(path_type=Path, dir_okay=False)
    decorated: Any = click.option(
        "--tls",
        type=(file, file, file),
        metavar="CA CERTIFICATE KEY",
        help="For machines elsewhere: who signs their certificates, and what they are shown, PEM.",
    )(with_access)
    return click.option(
        "--machine", "urls", metavar="URL", multiple=True, required=True, help="A machine's deployment API; again."
    )(decorated)


def signing_options(command: Callable[..., Any]) -> Any:
    """`--key`, `--operator`, `--dry-run`, `--json` of the commands that make a revision, given to them as `wish`."""

    @functools.wraps(command)
    def with_wish(*, key: Path | None, operators: Sequence[bytes], dry_run: bool, as_json: bool, **others: Any) -> Any:
        if key is None and not dry_run:
            raise UsageError(
                "a revision is signed: name an operator's key with --key FILE, or only look with --dry-run"
            )
        signer = None if key is None or dry_run else read_signing_key(key)
        return command(wish=Wish(signer, frozenset(operators), as_json), **others)

    decorated: Any = with_wish
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the plan, or what came of it, as JSON."),
        click.option("--dry-run", is_flag=True, help="Say what would start and end, and send nothing."),
        click.option(
            "--operator",
            "operators",
            type=PublicKeyType(),
            multiple=True,
            metavar="KEY",
            help="Another operator's public key, 64 hexadecimal digits, whose revisions are built upon; again.",
        ),
        click.option(
            "--key",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="An operator's seed, 32 bytes, mode 600; not needed with --dry-run.",
        ),
    ):
        decorated = option(decorated)
    return decorated


class PublicKeyType(click.ParamType[bytes]):
    """An Ed25519 public key in hexadecimal digits."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The 32 bytes."""
        if isinstance(value, bytes):
            return value
        try:
            key = lower_hex(value)
        except MalformedInput as error:
            self.fail(str(error), param, ctx)
        if len(key) != PUBLIC_SIZE:
            self.fail(f"a public key has {2 * PUBLIC_SIZE} hexadecimal digits", param, ctx)
        return key
