"""Whether what a vendor is said to say is the vendor's, as far as that can be known without evidence; no I/O, no clock.

It is asked of everything that goes into a store of endorsements, wherever it came from: a lying mirror, a bundle from
nobody knows whom and a broken disk can then withhold, and do nothing else. Evidence is judged with all of it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.attest.certificates import ChainRefused, check_chain, day, name_of
from cloister.attest.endorsement_words import Mark, Said, moment_of, read_said
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import Kept, Kind, kind_of, require_form

ENDORSEMENT_STEPS: Final = (
    "endorsement.form",
    "endorsement.origin",
    "endorsement.subject",
    "endorsement.date",
    "endorsement.rollback",
)
_REFUSALS: Final = (ChainRefused, BadSignature, MalformedInput, TooLarge, Refused)


class EndorsementRefused(Refused):
    """What a vendor is said to say is not the vendor's, not in date, or older than what was seen."""


@dataclass(frozen=True, slots=True)
class Described:
    """What something kept says of itself. Nothing of it is trusted."""

    kind: Kind
    subject: str  # which of its kind, in words that people read
    first: int  # seconds since 1970: when the last of its parts began
    until: int  # and when the first of them ends
    mark: Mark


@dataclass(frozen=True, slots=True)
class AuthenticEndorsement:
    """Something that its vendor says now. Whether it is of this evidence, the evidence's examination says."""

    kept: Kept
    described: Described


def describe(kept: Kept) -> Described:
    """What it says of itself.

    Raises:
        MalformedInput, TooLarge: a part of it is not what it should be.
    """
    return _described(kept, read_said(kept))


def examine_endorsement(
    kept: Kept, *, roots: VendorRoots, at: int, subject: str, seen: Mark
) -> Examination[AuthenticEndorsement]:
    """Examine one at `at` (seconds since 1970).

    Args:
        kept: as it came.
        roots: what chains have to end in.
        at: now.
        subject: which of its kind was asked for; who imports what there is asks for what it says it is.
        seen: the mark of the newest of this kind and subject that was seen; empty where none was.
    """
    steps = Steps(ENDORSEMENT_STEPS, EndorsementRefused)
    # 1. Certificates, lists and documents that parse, and say what they are of.
    read = steps.attempt(
        "endorsement.form", lambda: read_said(require_form(kept)), MalformedInput, TooLarge, found=kind_of(kept)
    )
    if read is None:
        return steps.stopped()
    own = _described(kept, read)
    # 2. Signed by its vendor, by a chain to a pinned root; judged at a moment when all of it was in date.
    moment = max(own.first, min(at, own.until))
    steps.attempt("endorsement.origin", lambda: _check(read, roots, moment), *_REFUSALS, found=name_of(read.chain[-1]))
    # 3. Of what was asked for: a mirror may answer with what is true of another chip.
    shortfall = f"it is of {own.subject}, and {subject} was asked for"
    steps.check("endorsement.subject", own.subject == subject, shortfall, found=own.subject)
    # 4. In date, all parts of it.
    shortfall = f"it counts from {day(own.first)} to {day(own.until)}, and now is {day(at)}: get it anew"
    steps.check("endorsement.date", own.first <= at <= own.until, shortfall, found=f"until {day(own.until)}")
    # 5. Nothing older than what was seen, by anything that its vendor counts: what is in date need not be the newest.
    older = bool(seen) and any(mine < theirs for mine, theirs in zip(own.mark, seen, strict=True))
    shortfall = f"it is older ({_words(own.mark)}) than what was seen before ({_words(seen)})"
    steps.check("endorsement.rollback", not older, shortfall, found=_words(own.mark))
    return steps.examined(lambda: AuthenticEndorsement(kept, own))


def _check(read: Said, roots: VendorRoots, moment: int) -> None:
    check_chain(read.chain, roots=read.pins(roots), at=moment)
    read.check(roots, moment)


def _described(kept: Kept, read: Said) -> Described:
    spans = [(one.not_valid_before_utc, one.not_valid_after_utc) for one in read.chain]
    first = max(map(moment_of, [*(one for one, _ in spans), *(one for one, _ in read.times)]))
    ends = [one for one in (*(one for _, one in spans), *(one for _, one in read.times)) if one is not None]
    return Described(kind_of(kept), read.subject, first, min(map(moment_of, ends)), read.mark)


def _words(mark: Mark) -> str:
    """Numbers as they are, moments as people write them."""
    return ", ".join(day(one) if one > 1_000_000_000 else str(one) for one in mark) or "not counted"
