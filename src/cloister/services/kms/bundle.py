"""Puts a key bundle together: the same bytes for all who ask, until the next (docs/formats/key-bundle.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Self

from cloister.contract.epochs import shown_epochs
from cloister.contract.placed import Placed
from cloister.contract.replay import ReplayedLog
from cloister.contract.state import ContractLine, EpochRecord, ReleaseRecord
from cloister.crypto.merkle import GrowingTree, Subtree, consistency_path, inclusion_paths
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.key_bundle import PROVEN_SIZES, ConsistencyProof, KeyBundle, LoggedEntry, StateHead, shown_digest
from cloister.services.kms.instance import Instance, challenge_of

MAXIMUM_RELEASES = 1024


@dataclass(frozen=True, slots=True)
class Moment:
    """What a bundle is about: the log at one checkpoint, and this instance's evidence that answers it."""

    log: ReplayedLog
    instance: Instance
    evidence: Evidence
    at: int  # seconds since 1970


@dataclass(frozen=True, slots=True)
class ServedBundle:
    """A bundle's bytes, and the tag that tells it from the next."""

    data: bytes
    tag: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The bundle with these bytes."""
        return cls(data, hashlib.sha256(data).hexdigest()[:32])


def make_bundle(moment: Moment, line: ContractLine, active: EpochRecord) -> bytes:
    """The bundle's bytes for one contract; `active` is the epoch to encrypt to.

    Epochs and gateways are what the log adds up to, whichever instance made them: the same at every instance that
    stands at this checkpoint.
    """
    log = moment.log
    epochs = shown_epochs(line, at=log.checkpoint.cosigned_at)
    releases = _releases(line, epochs)
    shown = {*(record.placed.digest for record in epochs), *(record.placed.digest for record in releases)}
    makers = {*(record.instance for record in epochs), *(record.instance for record in releases)}
    head = StateHead(
        checkpoint=challenge_of(log.checkpoint),
        constitution=log.state.constitution.digest(),
        contract=line.current.digest(),
        epoch=active.epoch.number,
        shown=shown_digest((record.placed.entry for record in epochs), (record.placed.entry for record in releases)),
        instances=tuple(sorted({*log.state.instances, *makers})),
        revoked=tuple(sorted(line.revoked & shown)),
        at=moment.at,
    )
    proofs = _Proofs(log.tree)
    bundle = KeyBundle(
        checkpoint=log.checkpoint.note,
        consistency=proofs.consistency(),
        constitutions=proofs.logged(log.state.constitutions),
        contracts=proofs.logged(line.chain),
        epochs=proofs.logged(record.placed for record in epochs),
        releases=proofs.logged(record.placed for record in releases),
        evidence=canonical.encode(moment.evidence),
        head=moment.instance.sign_head(head),
    )
    return canonical.encode(bundle)


def _releases(line: ContractLine, epochs: Sequence[EpochRecord]) -> list[ReleaseRecord]:
    """The newest releases to gateways, of the epochs shown."""
    digests = {record.placed.digest for record in epochs}
    contract = line.current.digest()
    newest = (
        record
        for record in reversed(line.releases)
        if record.release.epoch in digests and record.release.contract == contract and record.release.role == "gateway"
    )
    return [*islice(newest, MAXIMUM_RELEASES)][::-1]


class _Proofs:
    """Makes the proofs of one checkpoint; each subtree is looked up once."""

    def __init__(self, tree: GrowingTree) -> None:
        self._size = tree.size
        self._subtree: Subtree = cache(tree.subtree)

    def logged(self, placed: Iterable[Placed]) -> tuple[LoggedEntry, ...]:
        """The entries with their inclusion paths."""
        entries = tuple(placed)
        paths = inclusion_paths((entry.index for entry in entries), self._size, self._subtree)
        return tuple(LoggedEntry(index=one.index, entry=one.entry, path=paths[one.index]) for one in entries)

    def consistency(self) -> tuple[ConsistencyProof, ...]:
        """From each of the last sizes."""
        sizes = range(max(1, self._size - PROVEN_SIZES), self._size)
        return tuple(
            ConsistencyProof(size=size, path=consistency_path(size, self._size, self._subtree)) for size in sizes
        )
