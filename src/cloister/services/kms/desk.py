"""Where requests of nodes and instances come in: challenges go out, evidence is completed before it is judged."""

from __future__ import annotations

import secrets
from time import monotonic

from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.formats.evidence import Evidence
from cloister.hosting.challenges import CHALLENGE_SIZE, Challenges
from cloister.services.kms.standing import Standing

Shown = tuple[Evidence, bytes, bool, SeenEndorsements]  # as in every `…Asked`


class Desk:
    """The challenges of one instance, and what vendors say for evidence that answers one."""

    def __init__(self, standing: Standing) -> None:
        security = standing.instance.security
        self._standing = standing
        self._challenges = Challenges(seconds=security.challenge_seconds, capacity=security.challenges)

    def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes, for one piece of evidence."""
        challenge = secrets.token_bytes(CHALLENGE_SIZE)
        self._challenges.issue(challenge, at=monotonic())
        return challenge

    async def shown(self, contract: bytes, evidence: Evidence) -> Shown:
        """What a node shows, with what vendors say for it, under the contract line with this digest."""
        standing, challenge = self._standing, evidence.binding.challenge
        live = self._challenges.use(challenge, at=monotonic())
        line = standing.state.lines.get(contract)
        if line is None or not live:
            return evidence, challenge, live, SEEN_NOTHING
        policy, vendors = line.current.appraisal, standing.vendors
        whole = await vendors.complete(evidence, policy, at=standing.now(), asker=contract.hex())
        return whole, challenge, live, vendors.seen(policy)

    async def shown_by_instance(self, evidence: Evidence) -> Shown:
        """What another instance shows, under the constitution in force."""
        standing, challenge = self._standing, evidence.binding.challenge
        live = self._challenges.use(challenge, at=monotonic())
        policy = standing.state.constitution.appraisal
        if live:
            evidence = await standing.vendors.complete(evidence, policy, at=standing.now(), asker="kms")
        return evidence, challenge, live, standing.vendors.seen(policy)
