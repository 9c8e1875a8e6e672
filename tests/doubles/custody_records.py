"""One of each record of custody, in order, with the parser that reads it."""

from cloister.formats.custody import (
    Deposit,
    Deposited,
    DepositTerms,
    Recovery,
    Retirement,
    Root,
    Rotation,
    Share,
    Use,
    parse_deposit,
    parse_deposited,
    parse_recovery,
    parse_retirement,
    parse_root,
    parse_rotation,
    parse_use,
)
from cloister.formats.custody_messages import (
    AssetReply,
    AssetRequest,
    CarriedDeposit,
    Intake,
    IntakeHead,
    WrappedAsset,
    parse_asset_reply,
    parse_asset_request,
    parse_carried_deposit,
    parse_intake,
    parse_intake_head,
)
from cloister.formats.evidence import NodeKeys
from cloister.formats.key_bundle import LoggedEntry
from cloister.formats.sealed_roots import SealedRoot, SealedRoots, parse_sealed_roots

LINE, DIGEST, KEY = b"l" * 32, b"d" * 32, b"k" * 1216
TERMS = DepositTerms(
    contract=LINE,
    asset="api-token",
    number=1,
    generation=1,
    task="serve",
    workloads=(b"w" * 48,),
    under="line",
    expires=1_900_000_000,
    commitment=DIGEST,
)
SAMPLES = {
    parse_sealed_roots: SealedRoots(roots=(SealedRoot(root=DIGEST, secret=KEY[:32]),)),
    parse_root: Root(
        contract=LINE,
        terms=DIGEST,
        generation=1,
        previous=b"",
        intake=KEY,
        threshold=1,
        shares=(Share(custodian="bank", commitment=DIGEST, wrapped=b"share"),),
        earlier=b"",
        at=1_800_000_000,
    ),
    parse_deposit: Deposit(terms=TERMS, blob=DIGEST),
    parse_deposited: Deposited(salt=bytes(32), value=b"value"),
    parse_recovery: Recovery(contract=LINE, generation=1, custodian="bank", instance=DIGEST, wrapped=b"share"),
    parse_rotation: Rotation(contract=LINE, generation=1, reason="a custodian left"),
    parse_retirement: Retirement(contract=LINE, generation=1, reason="all is sealed anew"),
    parse_use: Use(
        contract=LINE,
        number=1,
        role="gateway",
        task="serve",
        deposits=(DIGEST,),
        node=NodeKeys(sign=DIGEST, wrap=KEY),
        evidence=DIGEST,
        checks=("asset.uses",),
        at=1_800_000_000,
    ),
    parse_intake_head: IntakeHead(checkpoint=DIGEST, contract=LINE, root=DIGEST, generation=1, held=True, at=1),
    parse_intake: Intake(checkpoint=b"note", root=LoggedEntry(index=0, entry=b"entry", path=(DIGEST,)), head=b"head"),
    parse_carried_deposit: CarriedDeposit(entry=b"entry", blob=b"sealed"),
    parse_asset_request: AssetRequest(contract=LINE, assets=("api-token",), evidence=b"evidence"),
    parse_asset_reply: AssetReply(
        entry=b"use",
        index=0,
        path=(DIGEST,),
        checkpoint=b"note",
        assets=(WrappedAsset(deposit=b"deposit", wrapped=b"wrapped"),),
    ),
}
