"""The sections of a node's task, from the KMS into memory: all of them, examined, in one use of each grant."""

from __future__ import annotations

from cloister.contract.sections import VerifiedSections, examine_sections, sections_of
from cloister.node.released_assets import AskingNode, AssetKms, released_assets
from cloister.trust.bundle import VerifiedBundle


async def released_sections(kms: AssetKms, node: AskingNode, bundle: VerifiedBundle) -> VerifiedSections:
    """What the personas give this node's task together; nothing, without asking, where the contract has no sections.

    Raises:
        SectionsRefused: a section is not what the contract says, or two define the same thing.
        Refused, PeerRefused, Unavailable: as `released_assets`.
    """
    contract, task = bundle.contract, bundle.contract.serving.name
    wanted = [asset.name for asset in sections_of(contract, task)]
    values = (await released_assets(kms, node, bundle, wanted)).values if wanted else {}
    return examine_sections(values, contract, task=task).require()
