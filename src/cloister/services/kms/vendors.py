"""What AMD, Intel and NVIDIA say, as this KMS comes to know it: for nodes' evidence, and for its own."""

from __future__ import annotations

import structlog

from cloister.attest.roots import roots_of
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.endorsements.endorsing import Endorsing, Gathered
from cloister.errors import CloisterError
from cloister.formats.appraisal_policy import AppraisalPolicy, takes
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import Evidence


class Vendors:
    """Completes evidence, and remembers for each set of roots what it met: nothing older is taken after it."""

    def __init__(self, endorsing: Endorsing) -> None:
        self._endorsing = endorsing
        self._seen: dict[bytes, SeenEndorsements] = {}  # by the digest of the roots
        self._told: frozenset[str] = frozenset()  # what was missing last: each is told of once
        self.lacking: tuple[str, ...] = ()  # what is not to be had for this KMS's own evidence, and why

    async def complete(self, evidence: Evidence, policy: AppraisalPolicy, *, at: int, asker: str) -> Evidence:
        """A node's evidence with all that is to be judged, as of `at` (seconds since 1970), on behalf of `asker`.

        Raises:
            CloisterError: the store is damaged, or cannot be used.
        """
        return (await self._gather(evidence, policy, at=at, asker=asker)).completes(evidence)

    async def renewed(
        self, evidence: Evidence, policy: AppraisalPolicy, before: tuple[Endorsement, ...], *, at: int
    ) -> tuple[Endorsement, ...]:
        """What this KMS's own evidence is to be shown with: what it has still, where it cannot be had anew."""
        try:
            gathered = await self._gather(evidence, policy, at=at, asker=None)
        except CloisterError as error:
            self.lacking = (str(error),)
            self._tell(self.lacking)
            return before or evidence.endorsements
        found, self.lacking = gathered.endorsements, gathered.missing
        return found if {one.kind for one in found} >= {one.kind for one in before} else before

    def seen(self, policy: AppraisalPolicy) -> SeenEndorsements:
        """What was met before under the policy's roots."""
        return self._seen.get(roots_of(policy).digest(), SEEN_NOTHING)

    def met(self, policy: AppraisalPolicy, seen: SeenEndorsements) -> None:
        """Remember what came along with evidence that was appraised, or is in the store."""
        self._seen[roots_of(policy).digest()] = self.seen(policy).merged(seen)

    async def _gather(self, evidence: Evidence, policy: AppraisalPolicy, *, at: int, asker: str | None) -> Gathered:
        if takes(policy, evidence.platform) is None:
            return Gathered(evidence.endorsements)  # it will be refused: no vendor is asked for that
        gathered = await self._endorsing.gather(evidence, roots_of(policy), at=at, asker=asker)
        self._tell(gathered.missing)
        self.met(policy, gathered.seen)  # a store remembers over restarts, and what has ended since
        return gathered

    def _tell(self, missing: tuple[str, ...]) -> None:
        for one in missing:
            if one not in self._told:
                structlog.get_logger().warning("an endorsement is missing", reason=one)
        self._told = frozenset(missing)
