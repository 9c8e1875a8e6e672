"""Transports for httpx and httpx2: a program's own HTTP client, its requests sealed and its answers proved.

Of a request only method, path, body and the headers on the client's list travel; its host and its credentials stay
here. Neither library is imported: a transport is built against the module that is passed in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, Unpack

from cloister.client.async_transport import AsyncTransport
from cloister.client.local_system import relay_of, state_folder
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.replies import Asking
from cloister.client.session import Session
from cloister.client.sync_transport import SyncTransport
from cloister.client.trust_policy_file import read_trust_policy
from cloister.ohttp.privacy import STANDARD, Privacy, require_level

Name = str | os.PathLike[str]


class Where(TypedDict, total=False):
    """Which service; where a program names nothing, the local system's state folder says it."""

    relay: str | None
    relay_ca: Name | None
    trust_policy: Name | None
    memory: Name | None
    state: Name | None


class Named(Where, total=False):
    """What a program names."""

    receipts: Name | None
    privacy: Privacy


def transport(http: Any, **named: Unpack[Named]) -> Any:
    """A `BaseTransport` of the module `http`, for its `Client`; close that, or the transport.

    Args:
        http: `httpx`, `httpx2`, or another module with their names.
        named: any of these.
            relay: the relay's URL; else that of the local system that runs.
            relay_ca: a PEM file of those who may sign the relay's certificate; else this machine's own list.
            trust_policy: a TOML file; else the state folder's.
            memory: the file of what this client remembers of the log; else `client-memory` beside the trust policy.
            receipts: a folder in which every receipt is kept; without one they are examined, and not kept.
            state: the local system's state folder; else `$CLOISTER_STATE`, or the default one.
            privacy: `strict`, where an answer's length and times are to tell next to nothing; it takes longer.

    Raises:
        UsageError: the trust policy cannot be read, or there is no such level of privacy.
        NoLocalSystem: no relay is named, and no local system runs.
    """
    kind = type("CloisterTransport", (SyncTransport, http.BaseTransport), {})
    return kind(http, _asking(**named))


def async_transport(http: Any, **named: Unpack[Named]) -> Any:
    """An `AsyncBaseTransport` of the module `http`, for its `AsyncClient` on asyncio; else as `transport`."""
    kind = type("AsyncCloisterTransport", (AsyncTransport, http.AsyncBaseTransport), {})
    return kind(http, _asking(**named))


def _asking(
    *, receipts: Name | None = None, privacy: Privacy = STANDARD, **where: Unpack[Where]
) -> Callable[[], Asking]:
    require_level(privacy)
    session, kept = _session(**where), None if receipts is None else Path(receipts)
    return lambda: Asking(session(privacy), kept)


def _session(
    *,
    relay: str | None = None,
    relay_ca: Name | None = None,
    trust_policy: Name | None = None,
    memory: Name | None = None,
    state: Name | None = None,
) -> Callable[[Privacy], Session]:
    folder = state_folder() if state is None else Path(state)
    policy_path = folder / "trust-policy.toml" if trust_policy is None else Path(trust_policy)
    url = relay_of(folder) if relay is None else relay
    authorities = None if relay_ca is None else Path(relay_ca)
    policy = read_trust_policy(policy_path)
    remembered = MemoryFile(
        policy_path.with_name("client-memory") if memory is None else Path(memory), genesis=policy.constitution
    )
    return lambda privacy: Session(policy, remembered, Relay(url, authorities=authorities), privacy=privacy)
