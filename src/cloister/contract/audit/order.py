"""The order of entries: none stands twice, and none names what comes only after it."""

from __future__ import annotations

from collections.abc import Iterator

from cloister.contract.audit.findings import Finding
from cloister.contract.audit.payloads import references
from cloister.contract.audit.taken import Taken
from cloister.ledger.statements import entry_digest


class Order:
    """What stands where, by the digests of entries and of the documents in them."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._awaited: dict[bytes, list[tuple[int, bytes]]] = {}  # who names a digest that was not there: index, digest

    def place(self, digest: bytes) -> int | None:
        """The index of the entry that this digest names."""
        return self._places.get(digest)

    def take(self, taken: Taken) -> Iterator[Finding]:
        """What is wrong with the place of an entry, or of those before that name it."""
        digest, document = taken.statement.digest, entry_digest(taken.statement.payload)
        first = self._places.get(digest)
        if first is not None:
            yield taken.finding("fault", "audit.once", f"is entry {first} again; a ledger logs the same bytes once")
        elif taken.statement.kind in ("constitution", "contract"):
            self._places.setdefault(document, taken.index)
        self._places.setdefault(digest, taken.index)
        for name in (digest, document):
            for index, earlier in self._awaited.pop(name, ()):
                says = f"names entry {taken.index}, which stands after it: it was put before, or that was put behind"
                yield Finding("fault", index, "audit.order", says, earlier)
        if not taken.counts and taken.signed_by("instance", "amender", "party"):
            for name in references(taken.record):
                if name not in self._places:
                    self._awaited.setdefault(name, []).append((taken.index, digest))
