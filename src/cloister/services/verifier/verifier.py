"""The verifier itself: gives out challenges, judges what answers them, and signs what it found."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import structlog
from prometheus_client import Counter

from cloister.attest.evidence import AppraisedEvidence, Expected, examine_evidence
from cloister.attest.request import VerifiedDemand, examine_attestation_request
from cloister.attest.roots import roots_of
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.crypto.jws import sign_jws
from cloister.endorsements.endorsing import Endorsing, Gathered
from cloister.errors import Unavailable, UsageError
from cloister.examination import RefusedSteps, Step
from cloister.formats.appraisal_policy import RoleReference, takes
from cloister.formats.attestation_request import parse_attestation_request
from cloister.formats.attestation_result import TOKEN_TYPE, AttestationResult, encode_attestation_result
from cloister.formats.evidence import Evidence
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.hosting.challenges import CHALLENGE_SIZE, Challenges
from cloister.hosting.health import Metrics
from cloister.services.verifier.result import Issue, attestation_result
from cloister.services.verifier.settings import VerifierLimits
from cloister.services.verifier.signing_keys import SigningKeys


class UnknownPolicy(UsageError):
    """A request names a policy that this verifier was not given."""

    status = 404


class Verifier:
    """One verifier, over its keys and policies."""

    def __init__(
        self,
        issuer: str,
        policies: Mapping[str, VerifierPolicy],
        keys: SigningKeys,
        endorsing: Endorsing,
        *,
        limits: VerifierLimits,
        clock: Callable[[], int],
    ) -> None:
        """`policies` by name; `clock` gives seconds since 1970."""
        self.issuer = issuer
        self.policies = policies
        self._keys = keys
        self._endorsing = endorsing
        self._limits = limits
        self._clock = clock
        self.metrics = Metrics("verifier")
        registry = self.metrics.registry
        self._tokens = Counter("cloister_verifier_tokens", "Tokens given.", ["policy"], registry=registry)
        self._refused = Counter("cloister_verifier_refused", "Refusals, by first check.", ["check"], registry=registry)
        self._seen: dict[bytes, SeenEndorsements] = {}  # by the digest of the roots
        self._challenges = Challenges(seconds=limits.challenge_seconds, capacity=limits.challenges)

    def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes, for one piece of evidence."""
        challenge = secrets.token_bytes(CHALLENGE_SIZE)
        self._challenges.issue(challenge, at=monotonic())
        return challenge

    def key_set(self) -> list[bytes]:
        """The public keys by which tokens are checked."""
        self._turn(self._clock())
        return self._keys.shown()

    async def attest(self, data: bytes, *, asker: str) -> bytes:
        """The token that a node asks for; `asker` is whom vendors' limits count it to.

        Raises:
            TooLarge, MalformedInput: not a request.
            UnknownPolicy: it names none of this verifier's.
            RefusedSteps: names every check that failed; nothing was signed.
            Unavailable: endorsements are missing that may be there later.
        """
        try:
            # Nothing is known of the sender yet: what takes long to read shall hold nobody else up.
            asked = await asyncio.to_thread(self._read, data)
            token = await self._answer(asked, asker)
        except RefusedSteps as refusal:
            self._refused.labels(refusal.check).inc()
            checks = ", ".join(step.id for step in refusal.failed)
            structlog.get_logger().info("refused", checks=checks)
            raise
        self._tokens.labels(asked.demand.policy).inc()
        structlog.get_logger().info("attested", policy=asked.demand.policy, platform=asked.evidence.platform)
        return token

    async def _answer(self, asked: VerifiedDemand, asker: str) -> bytes:
        policy = self.policies.get(asked.demand.policy)
        if policy is None:
            raise UnknownPolicy(f"no such policy here; there are {', '.join(sorted(self.policies))}")
        gathered = await self._gather(asked.evidence, policy, asker)
        at = self._clock()  # asking vendors took time, and what they said just now is not to be of the future
        appraised = await self._judge(asked, policy, gathered, at)
        issue = Issue(self.issuer, at, self._limits.token_seconds)
        return self._sign(attestation_result(asked, appraised, policy.id, issue), at=at)

    def _read(self, data: bytes) -> VerifiedDemand:
        return examine_attestation_request(parse_attestation_request(data), self._use).require_telling_all()

    def _use(self, challenge: bytes) -> bool:
        return self._challenges.use(challenge, at=monotonic())

    async def _gather(self, evidence: Evidence, policy: VerifierPolicy, asker: str) -> Gathered:
        if not takes(policy, evidence.platform):
            return Gathered(evidence.endorsements)  # it will be refused: no vendor is asked for that
        return await self._endorsing.gather(evidence, roots_of(policy), at=self._clock(), asker=asker)

    async def _judge(
        self, asked: VerifiedDemand, policy: VerifierPolicy, gathered: Gathered, at: int
    ) -> AppraisedEvidence:
        completed = gathered.completes(asked.evidence)
        digest = roots_of(policy).digest()
        seen = self._seen.get(digest, SEEN_NOTHING).merged(gathered.seen)  # a store remembers over restarts
        try:
            # Appraisal takes milliseconds, a GPU's some tens: other requests are not to wait for it.
            appraised = await asyncio.to_thread(judge, completed, policy, at=at, seen=seen)
        except RefusedSteps as refusal:
            if gathered.retry:
                raise Unavailable(f"endorsements are missing: {'; '.join(gathered.missing)}") from refusal
            raise _with_missing(refusal, gathered.missing) from refusal
        self._seen[digest] = self._seen.get(digest, SEEN_NOTHING).merged(appraised.seen)
        return appraised

    def _sign(self, result: AttestationResult, *, at: int) -> bytes:
        self._turn(at)
        return sign_jws(self._keys.signer(at=at), encode_attestation_result(result), typ=TOKEN_TYPE)

    def _turn(self, at: int) -> None:
        """Turn the keys over; a disk that takes no new one stops no token, as long as there are keys."""
        try:
            self._keys.turn(at=at)
        except (UsageError, OSError) as error:
            structlog.get_logger().warning("the signing keys cannot be turned over", reason=str(error))


def judge(evidence: Evidence, policy: VerifierPolicy, *, at: int, seen: SeenEndorsements) -> AppraisedEvidence:
    """The evidence, appraised as of `at`, seconds since 1970, with nothing older than was `seen`.

    Raises:
        RefusedSteps: every check that failed.
    """
    expected = Expected(
        evidence.binding.challenge,  # it was live, and is used up now
        evidence.binding.subject,  # a verifier knows no contracts: its relying parties hold the claim
        _reference(policy, evidence),
    )
    return examine_evidence(evidence, policy, expected, at=at, seen=seen).require_telling_all()


def _with_missing(refusal: RefusedSteps, missing: Sequence[str]) -> RefusedSteps:
    """The refusal, with what could not be had named where it failed first."""
    if not missing:
        return refusal
    first, *others = refusal.failed
    told = Step(first.id, first.outcome, f"{first.detail}; missing here: {'; '.join(missing)}")
    return RefusedSteps([told, *others])


def _reference(policy: VerifierPolicy, evidence: Evidence) -> RoleReference:
    """The reference values of the node's role; of another, which it will be refused for, where the policy has none."""
    own = [reference for reference in policy.roles if reference.role == evidence.settings.role]
    return (own or list(policy.roles))[0]
