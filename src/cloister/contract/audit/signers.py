"""Who signed an entry, by the names that the log gives keys up to there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from cloister.contract.amendment import Voters
from cloister.contract.audit.findings import Signer
from cloister.contract.governed import Governed
from cloister.contract.lines import Lines
from cloister.contract.state import ContractLine, State


class Signers:
    """Everyone whom the log has named so far; nobody is forgotten, so that who was removed is still known."""

    def __init__(self) -> None:
        self._known: dict[bytes, Signer] = {}
        self._documents: set[bytes] = set()  # constitutions and contracts whose names are known
        self._instances = 0
        self._lines: Lines[ContractLine] = Lines()  # of the state that was learnt last

    def learn(self, state: State) -> None:
        """Everyone whom constitution, contracts and what is proposed to follow them name, and the KMS instances."""
        self._learn_documents("amender", state.rules)
        for name in state.lines.differing(self._lines):
            self._learn_documents("party", state.lines[name].governed)
        self._lines = state.lines
        for key in sorted(set(state.instances) - self._known.keys()):
            self._instances += 1
            self._known[key] = Signer("instance", f"KMS instance {self._instances}", key)

    def named(self, keys: Iterable[bytes]) -> tuple[Signer, ...]:
        """Whose keys these are, by name."""
        found = (self._known.get(key) or _stranger(key) for key in sorted(keys))
        return tuple(sorted(found, key=lambda signer: signer.name))

    def _learn_documents(self, role: Literal["amender", "party"], governed: Governed[Any]) -> None:
        self._learn(role, governed.digest, governed.current.voters)
        for proposal in governed.proposals:
            self._learn(role, proposal.placed.digest, proposal.successor.voters)

    def _learn(self, role: Literal["amender", "party"], document: bytes, voters: Voters) -> None:
        if document in self._documents:
            return
        self._documents.add(document)
        for name, keys in voters.items():
            for key in keys:
                known, words = self._known.get(key), f"{role} {name}"
                if known is None:
                    self._known[key] = Signer(role, words, key)
                elif words not in known.name.split(", "):
                    self._known[key] = Signer(known.role, f"{known.name}, {words}", key)


def _stranger(key: bytes) -> Signer:
    return Signer("stranger", f"a stranger ({key.hex()[:12]}…)", key)
