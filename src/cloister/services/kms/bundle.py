"""Puts a key bundle together: the same bytes for everyone until the next (docs/formats/key-bundle.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from cloister.contract.placed import Placed
from cloister.contract.replay import ReplayedLog
from cloister.contract.state import ContractLine, EpochRecord, ReleaseRecord
from cloister.crypto.merkle import GrowingTree, Subtree, consistency_path, inclusion_path
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


def shown_epochs(own: Sequence[EpochRecord], active: EpochRecord) -> list[EpochRecord]:
    """The run of this instance's epochs around the active one in which each names the one before.

    Another genuine instance may have made epochs between two of ours; a client accepts no gap, so those beyond wait
    until they are active themselves.
    """
    run: list[EpochRecord] = []
    for record in own:
        linked = bool(run) and record.epoch.previous == run[-1].placed.digest
        if not linked and active in run:
            break
        run = [*run, record] if linked else [record]
    return run


def make_bundle(moment: Moment, line: ContractLine, own: Sequence[EpochRecord], active: EpochRecord) -> bytes:
    """The bundle's bytes for one contract; `own` are the instance's epochs in life, `active` the one to encrypt to."""
    epochs = shown_epochs(own, active)
    releases = _releases(line, epochs, moment.instance.key)
    shown = {*(record.placed.digest for record in epochs), *(record.placed.digest for record in releases)}
    head = StateHead(
        checkpoint=challenge_of(moment.log.checkpoint),
        constitution=moment.log.state.constitution.digest(),
        contract=line.current.digest(),
        epoch=active.epoch.number,
        shown=shown_digest((record.placed.entry for record in epochs), (record.placed.entry for record in releases)),
        revoked=tuple(sorted(line.revoked & shown)),
        at=moment.at,
    )
    proofs = _Proofs(moment.log.tree)
    bundle = KeyBundle(
        checkpoint=moment.log.checkpoint.note,
        consistency=proofs.consistency(),
        constitutions=proofs.logged(moment.log.state.constitutions),
        contracts=proofs.logged(line.chain),
        epochs=proofs.logged(record.placed for record in epochs),
        releases=proofs.logged(record.placed for record in releases),
        evidence=canonical.encode(moment.evidence),
        head=moment.instance.sign_head(head),
    )
    return canonical.encode(bundle)


def _releases(line: ContractLine, epochs: Sequence[EpochRecord], instance: bytes) -> list[ReleaseRecord]:
    """The newest of this instance's releases to gateways, of the epochs shown."""
    digests = {record.placed.digest for record in epochs}
    contract = line.current.digest()
    mine = [
        record
        for record in line.releases
        if record.instance == instance
        and record.release.epoch in digests
        and record.release.contract == contract
        and record.release.role == "gateway"
    ]
    return mine[-MAXIMUM_RELEASES:]


class _Proofs:
    """Makes the proofs of one checkpoint; each subtree is looked up once."""

    def __init__(self, tree: GrowingTree) -> None:
        self._size = tree.size
        self._subtree: Subtree = cache(tree.subtree)

    def logged(self, placed: Iterable[Placed]) -> tuple[LoggedEntry, ...]:
        """The entries with their inclusion paths."""
        return tuple(
            LoggedEntry(
                index=entry.index, entry=entry.entry, path=inclusion_path(entry.index, self._size, self._subtree)
            )
            for entry in placed
        )

    def consistency(self) -> tuple[ConsistencyProof, ...]:
        """From each of the last sizes."""
        sizes = range(max(1, self._size - PROVEN_SIZES), self._size)
        return tuple(
            ConsistencyProof(size=size, path=consistency_path(size, self._size, self._subtree)) for size in sizes
        )
