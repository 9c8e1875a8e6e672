"""Evidence by a verifier's word: has a verifier judge raw evidence, and shows its token in place of that.

For contracts whose appraisal policy names the verifier (docs/formats/attestation-result.md, "In place of evidence").
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from cloister.attest.request import sign_attestation_request
from cloister.formats import canonical
from cloister.formats.attestation_request import AttestationRequest
from cloister.formats.evidence import Binding, Evidence, SecuritySettings
from cloister.formats.named_token import BY_VERIFIER, NamedToken
from cloister.node.evidence import Tee, evidence
from cloister.node.keys import NodeSecrets


class Vouching(Protocol):
    """A verifier of Cloister's, as nodes call it: `peers.verifier.VerifierClient` is one."""

    async def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes."""

    async def attest(self, request: AttestationRequest) -> bytes:
        """The token on the node that asks.

        Raises:
            RefusedSteps, PeerRefused: the verifier does not vouch for it, and why.
            Unavailable: it cannot be asked now.
        """


@dataclass(frozen=True, slots=True)
class Voucher:
    """Whose word is shown, and what it is asked for."""

    name: str  # of the verifier, in the contract
    policy: str  # by which it judges, by the verifier's name of it
    audience: str  # that the contract wants of its tokens
    verifier: Vouching


async def shown_evidence(
    tee: Tee,
    secrets: NodeSecrets,
    voucher: Voucher | None,
    *,
    challenge: bytes,
    settings: SecuritySettings,
    subject: bytes,
) -> Evidence:
    """Fresh evidence of this process, raw or, where there is a voucher, by its word.

    Raises:
        As `node.evidence.evidence` and `vouched_evidence`.
    """
    bound = {"challenge": challenge, "subject": subject}
    if voucher is not None:
        return await vouched_evidence(tee, secrets, voucher, settings=settings, **bound)
    return await asyncio.to_thread(  # of a GPU it takes a second
        evidence, tee, settings=settings, keys=secrets.public, **bound
    )


async def vouched_evidence(
    tee: Tee, secrets: NodeSecrets, voucher: Voucher, *, challenge: bytes, settings: SecuritySettings, subject: bytes
) -> Evidence:
    """Fresh evidence of this process; what is bound is as in `node.evidence.evidence`, but for GPUs.

    The verifier judges raw evidence that answers its own challenge, with the GPUs in it, and its token's nonce is the
    binding of the evidence made here.

    Raises:
        NoTee, TeeUnavailable, TeeFault, TeeDenied: the TEE does not answer.
        RefusedSteps, PeerRefused, Unavailable: as `Vouching.attest`.
    """
    keys = secrets.public
    binding = Binding(
        challenge=challenge,
        role=settings.role,
        settings=settings.digest(),
        subject=subject,
        keys=keys.thumbprint(),
        gpu=b"",
    )
    theirs = await voucher.verifier.challenge()
    raw = await asyncio.to_thread(evidence, tee, challenge=theirs, settings=settings, subject=subject, keys=keys)
    nonce = binding.report_data()
    request = sign_attestation_request(secrets.sign, raw, policy=voucher.policy, audience=voucher.audience, nonce=nonce)
    token = await voucher.verifier.attest(request)
    return Evidence(
        platform=BY_VERIFIER,
        report=canonical.encode(NamedToken(verifier=voucher.name, token=token)),
        endorsements=(),
        binding=binding,
        settings=settings,
        keys=keys,
        gpu=(),
    )
