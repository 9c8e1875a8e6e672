"""What the parties gave a node's task, from the KMS into memory: all of it, examined, in one use of each grant."""

from __future__ import annotations

from cloister.contract.task_assets import VerifiedTaskAssets, task_assets, wanted_assets
from cloister.node.released_assets import AskingNode, AssetKms, released_assets
from cloister.trust.bundle import VerifiedBundle


async def released_task_assets(
    kms: AssetKms, node: AskingNode, bundle: VerifiedBundle, *, model: bytes | None
) -> VerifiedTaskAssets:
    """The sections of this node's task together, and the key of its sealed model.

    Nobody is asked where the contract has no sections and the node no sealed model. `model` is its digest, 32 bytes.

    Raises:
        ModelRefused: the contract grants the task another model, or what was deposited is no model's key.
        SectionsRefused: a section is not what the contract says, or two define the same thing.
        Refused, PeerRefused, Unavailable: as `released_assets`.
    """
    contract, task = bundle.contract, bundle.contract.serving.name
    wanted = [asset.name for asset in wanted_assets(contract, task, model)]
    values = (await released_assets(kms, node, bundle, wanted)).values if wanted else {}
    return task_assets(values, contract, task=task, model=model)
