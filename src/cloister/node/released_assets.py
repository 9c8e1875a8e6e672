"""Assets from the KMS, by attestation both ways: its bundle was examined, evidence is shown, the reply is examined.

What comes is in this process's memory only; `sandbox` hands sections on to an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cloister.formats import canonical
from cloister.formats.custody_messages import AssetReply, AssetRequest
from cloister.formats.evidence import SecuritySettings
from cloister.node.evidence import Tee
from cloister.node.keys import NodeSecrets
from cloister.node.vouched_evidence import Voucher, shown_evidence
from cloister.trust.asset_reply import AssetsAskedFor, VerifiedAssets, examine_asset_reply
from cloister.trust.bundle import VerifiedBundle


@dataclass(frozen=True, slots=True)
class AskingNode:
    """A node, as it shows itself to the KMS."""

    tee: Tee
    secrets: NodeSecrets
    settings: SecuritySettings
    line: bytes  # the digest of the first contract of the line
    voucher: Voucher | None = None  # whose word is shown; without one, raw evidence


class AssetKms(Protocol):
    """What a node asks an instance of the KMS; each raises as `peers.kms.KmsClient`."""

    async def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes."""

    async def release_assets(self, request: AssetRequest) -> AssetReply:
        """The logged use and what was deposited, wrapped."""


async def released_assets(
    kms: AssetKms, node: AskingNode, bundle: VerifiedBundle, assets: Sequence[str]
) -> VerifiedAssets:
    """What the owners of `assets` deposited for this node's task: one use of each grant, counted in the log.

    `bundle` is the KMS's, examined under a trust policy: nobody else sees this node's evidence.

    Raises:
        Refused: a check failed, here or at the KMS; it is named.
        PeerRefused, Unavailable: the KMS takes no such request, or cannot serve it now.
    """
    challenge = await kms.challenge()
    shown = await shown_evidence(
        node.tee,
        node.secrets,
        node.voucher,
        challenge=challenge,
        settings=node.settings,
        subject=bundle.contract.digest(),
    )
    asked = AssetsAskedFor(node.line, tuple(assets), node.secrets.public, node.secrets.wrap)
    request = AssetRequest(contract=node.line, assets=asked.assets, evidence=canonical.encode(shown))
    return examine_asset_reply(await kms.release_assets(request), asked, bundle).require()
