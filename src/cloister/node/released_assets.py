"""Assets from the KMS, by attestation both ways: its bundle was examined, evidence is shown, the reply is examined.

What comes is in this process's memory only; how an engine gets it inside the sandbox is not for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.formats import canonical
from cloister.formats.custody_messages import AssetRequest
from cloister.formats.evidence import SecuritySettings
from cloister.node.evidence import Tee, evidence
from cloister.node.keys import NodeSecrets
from cloister.peers.kms import KmsClient
from cloister.trust.asset_reply import AssetsAskedFor, VerifiedAssets, examine_asset_reply
from cloister.trust.bundle import VerifiedBundle


@dataclass(frozen=True, slots=True)
class AskingNode:
    """A node, as it shows itself to the KMS."""

    tee: Tee
    secrets: NodeSecrets
    settings: SecuritySettings
    line: bytes  # the digest of the first contract of the line


async def released_assets(
    kms: KmsClient, node: AskingNode, bundle: VerifiedBundle, assets: Sequence[str]
) -> VerifiedAssets:
    """What the owners of `assets` deposited for this node's task: one use of each grant, counted in the log.

    `bundle` is the KMS's, examined under a trust policy: nobody else sees this node's evidence.

    Raises:
        Refused: a check failed, here or at the KMS; it is named.
        PeerRefused, Unavailable: the KMS takes no such request, or cannot serve it now.
    """
    challenge = await kms.challenge()
    shown = await asyncio.to_thread(  # of a GPU it takes a second
        evidence,
        node.tee,
        challenge=challenge,
        settings=node.settings,
        subject=bundle.contract.digest(),
        keys=node.secrets.public,
    )
    asked = AssetsAskedFor(node.line, tuple(assets), node.secrets.public, node.secrets.wrap)
    request = AssetRequest(contract=node.line, assets=asked.assets, evidence=canonical.encode(shown))
    return examine_asset_reply(await kms.release_assets(request), asked, bundle).require()
