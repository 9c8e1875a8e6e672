"""What a machine's deployment API tells of itself: JSON, for `cloister deploy` and for monitors."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_STATE: Final = 1024 * 1024  # bytes
SHOWN_REVISIONS: Final = 64  # the newest
SHOWN_EVENTS: Final = 64

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Hex = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[0-9a-f]*\Z")]
RevisionStanding = Literal["missed", "rolling", "in force", "failed", "past"]


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a node, as it was seen last."""

    name: Text  # NODE/PORT
    node: Text
    role: Text
    port: int
    health_port: int
    spec: Hex  # SHA-256 over all that it depends on
    workload: Hex  # what a kms or gateway said that it measured; empty before, and of other roles
    revision: int  # that it was started for; those since then have left it as it is
    pid: int | None  # None while it is down
    phase: Literal["ready", "not ready", "draining", "down"]
    missing: Text  # what it said that it lacks, or how it ended
    since: int  # that it stands so, since 1970
    restarts: int


class RevisionState(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that the machine took."""

    number: int
    digest: Hex
    signer: Hex  # the operator's public key
    restores: int
    standing: RevisionStanding
    at: int  # that it stands so, since 1970
    said: Text  # of one that failed: why


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence on what happened."""

    number: int
    at: int
    says: Text


class DeploymentState(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    deployment: Text
    machine: Text
    first: int  # the number from which a machine without any takes revisions
    working: bool  # whether something is being started or ended now
    revisions: Annotated[tuple[RevisionState, ...], msgspec.Meta(max_length=SHOWN_REVISIONS)]
    nodes: Annotated[tuple[NodeState, ...], msgspec.Meta(max_length=4096)]
    events: Annotated[tuple[Event, ...], msgspec.Meta(max_length=SHOWN_EVENTS)]

    @property
    def head(self) -> RevisionState | None:
        """The last revision that the machine took."""
        return self.revisions[-1] if self.revisions else None

    @property
    def in_force(self) -> RevisionState | None:
        """The one that its nodes are of."""
        return next((one for one in self.revisions if one.standing == "in force"), None)


def parse_deployment_state(data: bytes) -> DeploymentState:
    """Parse it, at most 1 MiB.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    if len(data) > MAXIMUM_STATE:
        raise TooLarge(f"a deployment's state of {len(data)} bytes, the cap is {MAXIMUM_STATE}")
    try:
        return msgspec.json.decode(data, type=DeploymentState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not a deployment's state: {error}") from error
