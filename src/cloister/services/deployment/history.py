"""The revisions that a machine took, in memory as in its store, and the sentences on what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.deployment_state import SHOWN_EVENTS, Event
from cloister.formats.node_manifest import NodeManifest
from cloister.services.deployment.signed_manifest import SignedManifest, open_node_manifest
from cloister.storage.database_file import CorruptStore
from cloister.storage.deployment_store import KeptRevision

_SAID = 4096  # characters of one sentence


class UnknownRevision(UsageError):
    """This machine has no revision of that number."""

    status = 404


@dataclass(slots=True)
class History:
    """Revisions by number. `kept` says how each stands; `signed` is what each said."""

    kept: dict[int, KeptRevision] = field(default_factory=dict)
    signed: dict[int, SignedManifest] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Iterable[KeptRevision]) -> History:
        """What a store has.

        Raises:
            CorruptStore: one is not what was signed, or does not follow the one before.
        """
        history = cls()
        for one in kept:
            try:
                opened = open_node_manifest(one.signed)
            except (BadSignature, MalformedInput, TooLarge) as error:
                raise CorruptStore(f"revision {one.number} is not what was signed: {error}") from error
            before = history.signed.get(one.number - 1)
            if opened.manifest.number != one.number or (
                before is not None and opened.manifest.previous != before.manifest.digest()
            ):
                raise CorruptStore(f"revision {one.number} does not follow the one before it")
            history.kept[one.number], history.signed[one.number] = one, opened
        return history

    def stands(self, kept: Iterable[KeptRevision]) -> None:
        """Take over how revisions stand now."""
        self.kept.update({one.number: one for one in kept})

    @property
    def taken(self) -> Mapping[int, NodeManifest]:
        """What each said."""
        return {number: one.manifest for number, one in self.signed.items()}

    @property
    def in_force(self) -> NodeManifest | None:
        """The one in force."""
        return self._that("in force")

    @property
    def rolling(self) -> NodeManifest | None:
        """The one that is being rolled out."""
        return self._that("rolling")

    def signed_of(self, number: int) -> bytes:
        """A revision as it was signed.

        Raises:
            UnknownRevision: there is none.
        """
        if number not in self.signed:
            raise UnknownRevision(f"this machine has no revision {number}")
        return self.signed[number].signed

    def _that(self, standing: str) -> NodeManifest | None:
        found = [number for number, one in self.kept.items() if one.standing == standing]
        return self.signed[found[0]].manifest if found else None


@dataclass(slots=True)
class Said:
    """The last sentences on what happened, numbered; each is logged, too."""

    clock: Callable[[], int]
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=SHOWN_EVENTS))
    number: int = 0

    def __call__(self, sentence: str) -> None:
        """Keep and log a sentence."""
        self.number += 1
        self.events.append(Event(number=self.number, at=self.clock(), says=sentence[:_SAID]))
        structlog.get_logger().info("deployment", says=sentence)
