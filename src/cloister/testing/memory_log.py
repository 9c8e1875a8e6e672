"""A log and its witnesses in memory: real signatures, cosignatures and proofs, no sockets."""

from __future__ import annotations

from collections.abc import Sequence

from cloister.crypto.merkle import consistency_path, inclusion_path, leaf_hash, root, subtrees
from cloister.crypto.signing import SigningKey
from cloister.formats.checkpoint import Checkpoint, SignedNote
from cloister.formats.constitution import Log, Witness
from cloister.formats.key_bundle import ConsistencyProof, LoggedEntry
from cloister.ledger.checkpoints import sign_note
from cloister.ledger.cosignatures import cosign


class MemoryLog:
    """Appends entries, and publishes cosigned checkpoints at a time that the caller states."""

    def __init__(self, *, origin: str = "log.test/cloister", witnesses: int = 1) -> None:
        self._key = SigningKey.generate()
        self._witnesses = {f"witness{number}.test": SigningKey.generate() for number in range(witnesses)}
        self.entries: list[bytes] = []
        self.log = Log(origin=origin, key=self._key.public)
        self.witnesses = tuple(Witness(name=name, key=key.public) for name, key in self._witnesses.items())

    def append(self, entry: bytes) -> int:
        """Add an entry; its index."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def leaves(self) -> list[bytes]:
        """The leaf hashes of all entries."""
        return [leaf_hash(entry) for entry in self.entries]

    def root(self) -> bytes:
        """The root over all entries."""
        return root(self.leaves())

    def checkpoint(self, *, at: int, origin: str | None = None, cosigners: int | None = None) -> bytes:
        """The cosigned note over all entries, by the first `cosigners` witnesses (all of them by default)."""
        times = [at] * len(list(self._witnesses)[:cosigners])
        return self.checkpoint_at_times(times, origin=origin)

    def checkpoint_at_times(self, times: Sequence[int], *, origin: str | None = None) -> bytes:
        """The same, by as many witnesses as there are `times`, each of which has another clock."""
        head = Checkpoint(self.log.origin if origin is None else origin, len(self.entries), self.root())
        note = sign_note(head.text(), self.log.origin, self._key)
        names = list(self._witnesses)[: len(times)]
        lines = tuple(cosign(note, name, self._witnesses[name], at=at) for name, at in zip(names, times, strict=True))
        return SignedNote(note.text, note.signatures + lines).encode()

    def logged(self, indices: Sequence[int]) -> tuple[LoggedEntry, ...]:
        """The entries at `indices` with their inclusion paths."""
        subtree, size = subtrees(self.leaves()), len(self.entries)
        return tuple(
            LoggedEntry(index=index, entry=self.entries[index], path=inclusion_path(index, size, subtree))
            for index in indices
        )

    def consistency(self, sizes: Sequence[int]) -> tuple[ConsistencyProof, ...]:
        """Proofs from each of `sizes` to all entries."""
        subtree, size = subtrees(self.leaves()), len(self.entries)
        return tuple(ConsistencyProof(size=old, path=consistency_path(old, size, subtree)) for old in sizes)
