"""The options by which a party speaks about one contract line: the one that its trust policy pins."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cloister.cli.client_options import policy_option, read_policy
from cloister.cli.ledger_access import FetchedLog, LedgerAccess, ledger_access, local_service
from cloister.cli.log_entry import log_entry
from cloister.cli.terminal import say, say_json
from cloister.client.memory_file import MemoryFile
from cloister.contract.state import ContractLine, State
from cloister.errors import UsageError
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import entry_digest
from cloister.peers.kms import KmsClient
from cloister.trust.bundle import VerifiedBundle, examine_bundle


@dataclass(frozen=True, slots=True)
class LineAccess:
    """A contract line in a ledger, and what a KMS that serves it has to prove."""

    ledger: LedgerAccess
    policy: TrustPolicy
    memory: MemoryFile
    kms_url: str | None

    @property
    def digest(self) -> bytes:
        """The first contract's, 32 bytes."""
        return self.policy.contract

    def of(self, state: State) -> ContractLine:
        """The line.

        Raises:
            UsageError: the log has none of that name.
        """
        line = state.lines.get(self.digest)
        if line is None:
            raise UsageError(
                f"the log has no contract {self.digest.hex()}, which the trust policy pins: is it the ledger of another"
                " system?"
            )
        return line

    def fetched(self) -> FetchedLog:
        """The whole log, examined as a KMS examines it; raises as `LedgerAccess.fetched`."""

        async def fetch() -> FetchedLog:
            async with self.ledger.client() as client:
                return await self.ledger.fetched(client)

        return asyncio.run(fetch())

    def log(self, entry: bytes, effect: str, *, as_json: bool) -> None:
        """Log a party's word and say that it counts; raises as `log_entry`."""

        async def append() -> int:
            async with self.ledger.client() as client:
                index, _ = await log_entry(self.ledger, client, entry)
                return index

        say_logged(entry, asyncio.run(append()), effect, as_json=as_json)

    def kms(self) -> KmsClient:
        """A client of the KMS, to be entered within a running event loop."""
        url = local_service(self.ledger.state, "kms") if self.kms_url is None else self.kms_url
        return KmsClient(url, peers=self.ledger.peers)

    async def examined(self, client: KmsClient) -> VerifiedBundle:
        """The KMS's bundle, examined now under the trust policy; what it shows of the log is remembered.

        Raises:
            BundleRefused: names the step that failed.
            Unavailable: the KMS does not answer.
        """
        bundle = parse_key_bundle(await client.bundle(self.digest))
        with self.memory.locked() as remembered:
            now = int(time.time())  # noqa: TID251 - the outermost place that has one
            verified = examine_bundle(bundle, self.policy, remembered, at=now).require()
            self.memory.store(verified.memory)
        return verified


def say_logged(entry: bytes, index: int, effect: str, *, as_json: bool) -> None:
    """Say what a logged entry does."""
    digest = entry_digest(entry).hex()
    if as_json:
        say_json({"entry": digest, "index": index, "effect": effect})
    else:
        say(f"entry {index} of the log, {digest}: {effect}")


def line_access(command: Callable[..., Any]) -> Any:
    """The options that name ledger and trust policy, given to the command as `line`."""
    return ledger_access(policy_option(_with_line(command)))


def kms_access(command: Callable[..., Any]) -> Any:
    """As `line_access`, and the KMS."""
    option = click.option("--kms", "kms_url", metavar="URL", help="The KMS.  [default: the local system's]")
    return ledger_access(policy_option(option(_with_line(command))))


def _with_line(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_line(*, ledger: LedgerAccess, policy: Path | None, kms_url: str | None = None, **others: Any) -> Any:
        trusted, path = read_policy(policy, ledger.state)
        memory = MemoryFile(path.with_name("party-memory"), genesis=trusted.constitution)
        return command(line=LineAccess(ledger, trusted, memory, kms_url), **others)

    return with_line
