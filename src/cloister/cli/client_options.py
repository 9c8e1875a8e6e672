"""The options of every command that talks to a service as a client: which service, and what is insisted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import running
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.client.trust_policy_file import NoTrustPolicy, read_trust_policy
from cloister.errors import UsageError
from cloister.formats.trust_policy import TrustPolicy
from cloister.ohttp.privacy import LEVELS, STANDARD, Privacy

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as its client is told of it."""

    policy: TrustPolicy
    policy_path: Path
    memory: MemoryFile
    relay_url: str
    relay_ca: Path | None = None
    privacy: Privacy = STANDARD

    def session(self) -> Session:
        """A session with it, to be used within a running event loop."""
        relay = Relay(self.relay_url, authorities=self.relay_ca)
        return Session(self.policy, self.memory, relay, privacy=self.privacy)


def policy_option(command: Command) -> Command:
    """The `--policy` option."""
    return click.option(
        "--policy",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The trust policy, TOML.  [default: the state folder's]",
    )(command)


def service_options(command: Command) -> Command:
    """The options `--policy`, `--relay`, `--relay-ca`, `--memory` and `--state`."""
    memory = click.option(
        "--memory",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="What this client remembers of the log.  [default: beside the trust policy]",
    )
    relay = click.option(
        "--relay", metavar="URL", help="The relay, as https://relay.example.  [default: the local system's]"
    )
    relay_ca = click.option(
        "--relay-ca",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Who may sign the relay's certificate, PEM.  [default: this machine's list]",
    )
    return policy_option(relay(relay_ca(memory(state_option(command)))))


def privacy_option(command: Command) -> Command:
    """The `--privacy` option, of commands that ask for answers."""
    return click.option(
        "--privacy",
        type=click.Choice(LEVELS),
        default=STANDARD,
        metavar="LEVEL",
        help="How little lengths and times tell: standard, or strict, which takes longer.  [default: standard]",
    )(command)


def read_policy(policy: Path | None, state: StateFolder) -> tuple[TrustPolicy, Path]:
    """The trust policy, and where it is.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    path = state.trust_policy if policy is None else policy
    try:
        return read_trust_policy(path), path
    except NoTrustPolicy as error:
        raise UsageError(
            f"{error}: name one with --policy FILE, or start a local system with cloister up, which writes its own"
        ) from error


def service(
    policy: Path | None, relay: str | None, relay_ca: Path | None, memory: Path | None, state: StateFolder
) -> Service:
    """The service that the options name.

    Raises:
        UsageError: the trust policy cannot be read.
        NotRunning: no relay is named, and no local system runs.
    """
    read, path = read_policy(policy, state)
    relay_url = running(state).relay_url if relay is None else relay
    beside = path.with_name("client-memory") if memory is None else memory
    return Service(read, path, MemoryFile(beside, genesis=read.constitution), relay_url, relay_ca)
