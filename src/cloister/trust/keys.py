"""The client's steps on what the KMS signed: the state head, the epochs' keys, the gateways it certified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from cloister.crypto.cose import open1
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Steps
from cloister.formats import key_config
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.key_bundle import (
    STATE_HEAD_TYPE,
    KeyBundle,
    LoggedEntry,
    StateHead,
    parse_state_head,
    shown_digest,
)
from cloister.formats.key_config import KeyConfig
from cloister.formats.release import Epoch, Release, parse_epoch, parse_release
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import SignedStatement, open_statement
from cloister.trust.memory import Memory

Parsed = TypeVar("Parsed", Epoch, Release)

KEY_STEPS = (
    "head.signature",
    "head.checkpoint",
    "head.constitution",
    "head.contract",
    "head.instances",
    "head.shown",
    "epoch.signature",
    "epoch.contract",
    "epoch.chain",
    "epoch.active",
    "epoch.latest",
    "epoch.window",
    "epoch.rollback",
    "epoch.key-config",
    "epoch.revoked",
    "gateway.signature",
    "gateway.contract",
    "gateway.epoch",
)


@dataclass(frozen=True, slots=True)
class InForce:
    """What the steps before found in force: the KMS's signing key from its evidence, what it is bound to, and when."""

    kms: bytes  # Ed25519, 32 bytes
    constitution: Constitution
    contract: Contract
    witnessed: int  # seconds since 1970: the time of the checkpoint that all of it is about


@dataclass(frozen=True, slots=True)
class TrustedEpoch:
    """An epoch whose statement a KMS instance signed, for which the one in evidence vouches. Built only here."""

    number: int
    digest: bytes  # SHA-256 of its entry
    key_config: KeyConfig
    not_before: int
    not_after: int  # as its statement says, or when a later one shown begins
    stale_until: int  # as long after that as its statement says


@dataclass(frozen=True, slots=True)
class TrustedGateway:
    """A gateway's receipt key, certified by such an instance for one epoch. Built only here."""

    sign: bytes  # Ed25519, 32 bytes
    epoch: bytes  # SHA-256 of the epoch's entry


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys of a bundle: `active` to encrypt to, `gateways` to believe receipts of. Built only here.

    What any of `instances` signs is the KMS's word: the one in evidence replayed the log that took them in.
    """

    active: TrustedEpoch
    epochs: tuple[TrustedEpoch, ...]
    gateways: tuple[TrustedGateway, ...]
    instances: frozenset[bytes]  # signing keys of KMS instances


def check_keys(
    steps: Steps, bundle: KeyBundle, force: InForce, policy: TrustPolicy, memory: Memory, *, at: int
) -> TrustedKeys | None:
    """The state head, the epochs, the active one among them, and the gateways; None where a step failed."""
    head = _check_head(steps, bundle, force)
    if head is None:
        return None
    epochs = _check_epochs(steps, bundle, force, head)
    if epochs is None:
        return None
    active = _check_active(steps, epochs, head, policy, memory, at=at)
    if active is not None:
        _check_latest(steps, epochs, head, at=force.witnessed)
    gateways = _check_gateways(steps, bundle, force, epochs, head)
    if active is None or gateways is None:
        return None
    # What was revoked stands in the chain of epochs, and is no key any more.
    kept = tuple(epoch for epoch in epochs if epoch.digest not in head.revoked)
    return TrustedKeys(active, kept, gateways, frozenset(head.instances))


def _check_head(steps: Steps, bundle: KeyBundle, force: InForce) -> StateHead | None:
    """The KMS's word on what is in force at exactly this checkpoint."""
    head = steps.attempt(
        "head.signature",
        lambda: parse_state_head(open1(bundle.head, public=force.kms, content_type=STATE_HEAD_TYPE)),
        BadSignature,
        MalformedInput,
        TooLarge,
    )
    if head is None:
        return None
    here = head.checkpoint == hashlib.sha256(bundle.checkpoint).digest()
    steps.check("head.checkpoint", here, "is about another checkpoint", found="about this checkpoint")
    current = head.constitution == force.constitution.digest()
    steps.check("head.constitution", current, "another constitution is in force", found="in force")
    current = head.contract == force.contract.digest()
    steps.check("head.contract", current, "another contract is in force", found="in force")
    known = force.kms in head.instances
    found = f"{len(head.instances)} instances of the KMS"
    steps.check("head.instances", known, "does not count the instance that signed it", found=found)
    shown = shown_digest((entry.entry for entry in bundle.epochs), (entry.entry for entry in bundle.releases))
    steps.check("head.shown", head.shown == shown, "other epochs or gateways are shown", found="all and no other")
    return head


def _check_epochs(steps: Steps, bundle: KeyBundle, force: InForce, head: StateHead) -> tuple[TrustedEpoch, ...] | None:
    """Every epoch shown is the KMS's own, for this contract, and each names the one before."""
    opened = _open_all(steps, "epoch.signature", bundle.epochs, head, parse_epoch)
    if opened is None:
        return None
    mine = all(epoch.contract == force.contract.digest() for _, epoch in opened)
    steps.check("epoch.contract", mine, "an epoch is of another contract", found="of this contract")
    linked = all(
        (later.number, later.previous) == (earlier.number + 1, digest)
        for (digest, earlier), (_, later) in pairwise(opened)
    )
    steps.check("epoch.chain", linked, "an epoch does not name the one before", found=f"{len(opened)} in line")
    revoked = [epoch.number for digest, epoch in opened if digest in head.revoked and epoch.number == head.epoch]
    steps.check("epoch.revoked", not revoked, "the active epoch is revoked", found="not revoked")
    try:
        return _trusted_epochs(opened)
    except (MalformedInput, TooLarge) as error:
        steps.check("epoch.key-config", False, str(error))
        return None


def _trusted_epochs(opened: Sequence[tuple[bytes, Epoch]]) -> tuple[TrustedEpoch, ...]:
    """Each with the end of its life: as long after it is stale as it says, and stale once a later one begins."""
    epochs = []
    for place, (digest, epoch) in enumerate(opened):
        not_after = min([epoch.not_after, *(later.not_before for _, later in opened[place + 1 :])])
        stale_until = min(epoch.stale_until, not_after + epoch.stale_until - epoch.not_after)
        config = key_config.decode(epoch.key_config)
        epochs.append(TrustedEpoch(epoch.number, digest, config, epoch.not_before, not_after, stale_until))
    return tuple(epochs)


def _check_active(
    steps: Steps, epochs: tuple[TrustedEpoch, ...], head: StateHead, policy: TrustPolicy, memory: Memory, *, at: int
) -> TrustedEpoch | None:
    """The one epoch that a client encrypts to: the head's, in its window, not older than seen, with a KEM accepted."""
    active = next((epoch for epoch in epochs if epoch.number == head.epoch), None)
    steps.check("epoch.active", active is not None, f"epoch {head.epoch} is not shown", found=f"epoch {head.epoch}")
    if active is None:
        return None
    skew = policy.maximum_clock_skew_seconds
    inside = at < active.not_after + skew
    steps.check("epoch.window", inside, f"holds until {active.not_after}, it is {at}")
    newer = active.number >= memory.epoch
    steps.check("epoch.rollback", newer, f"epoch {active.number} is older than {memory.epoch}, seen before")
    kem = active.key_config.kem in policy.kems
    steps.check("epoch.key-config", kem, f"KEM 0x{active.key_config.kem:04x} is not accepted", found="KEM accepted")
    return active


def _check_latest(steps: Steps, epochs: tuple[TrustedEpoch, ...], head: StateHead, *, at: int) -> None:
    """The head's epoch is the one in use for everyone at this checkpoint: the last whose window had begun.

    So no instance can give its clients a key of their own: what it would add beside the one in use replaces that.
    """
    begun = [epoch.number for epoch in epochs if epoch.not_before <= at]
    latest = begun[-1] if begun else 0
    shortfall = f"epoch {head.epoch} is named, epoch {latest} is in use" if latest else "no epoch had begun"
    steps.check("epoch.latest", latest == head.epoch, shortfall, found="for everyone at this checkpoint")


def _check_gateways(
    steps: Steps, bundle: KeyBundle, force: InForce, epochs: tuple[TrustedEpoch, ...], head: StateHead
) -> tuple[TrustedGateway, ...] | None:
    """Every gateway shown was certified by this KMS, for this contract, with an epoch shown; revoked ones drop out."""
    opened = _open_all(steps, "gateway.signature", bundle.releases, head, parse_release)
    if opened is None:
        return None
    mine = all(release.contract == force.contract.digest() and release.role == "gateway" for _, release in opened)
    steps.check("gateway.contract", mine, "a gateway is of another contract", found=f"{len(opened)} certified")
    known = {epoch.digest for epoch in epochs}
    shown = all(release.epoch in known for _, release in opened)
    steps.check("gateway.epoch", shown, "a gateway holds a key of no epoch shown", found="of these epochs")
    return tuple(
        TrustedGateway(release.node.sign, release.epoch) for digest, release in opened if digest not in head.revoked
    )


def _open_all(
    steps: Steps,
    step: str,
    entries: tuple[LoggedEntry, ...],
    head: StateHead,
    parse: Callable[[bytes], Parsed],
) -> list[tuple[bytes, Parsed]] | None:
    """The entries' digests and records, if one instance alone that the head vouches for signed each."""
    kind = "epoch" if step == "epoch.signature" else "release"
    opened: list[tuple[bytes, Parsed]] = []
    for entry in entries:
        try:
            statement = open_statement(entry.entry)
            if statement.kind != kind or not said_by_one(statement, head.instances):
                steps.check(step, False, f"entry {entry.index} is not this KMS's word on a {kind}")
                return None
            opened.append((statement.digest, parse(statement.payload)))
        except (BadSignature, MalformedInput, TooLarge) as error:
            steps.check(step, False, f"entry {entry.index}: {error}")
            return None
    steps.check(step, True, "", found=f"{len(opened)} signed by this KMS")
    return opened


def said_by_one(statement: SignedStatement, instances: Collection[bytes]) -> bool:
    """Whether exactly one of these KMS instances, and nobody else, signed."""
    return len(statement.signers) == 1 and statement.signers.issubset(instances)
