"""Carries endorsements across an air gap: a file of them, written whole, and imported part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloister.attest.endorsements import describe
from cloister.endorsements.store import DamagedEndorsement, EndorsementStore
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.examination import Outcome, Step
from cloister.formats import canonical
from cloister.formats.endorsement_bundle import EndorsementBundle, Kept, kind_of


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one part of a bundle."""

    kind: str
    subject: str  # empty where it says none
    refused_by: Step | None  # the step that it failed
    until: int | None  # seconds since 1970


def encode_bundle(kept: Iterable[Kept]) -> bytes:
    """A bundle of these, each once, by kind and subject.

    Raises:
        UsageError: there are none.
    """
    ordered = sorted(set(kept), key=lambda one: (kind_of(one), describe(one).subject))
    if not ordered:
        raise UsageError("a bundle of nothing")
    return canonical.encode(EndorsementBundle(kept=tuple(ordered)))


def import_bundle(bundle: EndorsementBundle, store: EndorsementStore, *, at: int) -> Iterator[Imported]:
    """Examine each part by itself at `at` (seconds since 1970), and keep what passes.

    Raises:
        Unavailable: the disk failed.
    """
    for kept in bundle.kept:
        failed = _refused_by(kept, store, at)
        try:
            own = describe(kept)
            yield Imported(own.kind, own.subject, failed, own.until)
        except (MalformedInput, TooLarge):
            yield Imported(kind_of(kept), "", failed, None)


def _refused_by(kept: Kept, store: EndorsementStore, at: int) -> Step | None:
    """The step that it failed. What the store has in its place may be damaged: nobody knows how new that was."""
    try:
        examination = store.take(kept, at=at)
    except DamagedEndorsement as error:
        return Step("endorsement.rollback", Outcome.FAILED, str(error))
    return next((step for step in examination.steps if step.id in examination.failed), None)
