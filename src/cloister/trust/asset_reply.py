"""Examines what a KMS answered to a node that asked for assets: every step before the node uses any of them.

The specification is docs/formats/custody.md. The node has examined the KMS's bundle first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats import canonical
from cloister.formats.contract import Contract
from cloister.formats.custody import ASSET_INFO, AssetSeal, Deposit, parse_deposit, parse_deposited, parse_use
from cloister.formats.custody_messages import AssetReply, WrappedAsset
from cloister.formats.evidence import NodeKeys
from cloister.ledger.statements import entry_digest, open_statement
from cloister.secret import SecretBytes
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.reply import LOGGED_STEPS, ReplyRefused, check_logged, said_by_the_kms

ASSET_REPLY_STEPS: Final = (*LOGGED_STEPS, "assets.asked", "assets.owner", "assets.value")


@dataclass(frozen=True, slots=True)
class AssetsAskedFor:
    """What the node asked for, and the keys it asked with."""

    line: bytes  # the digest of the first contract of the line
    assets: tuple[str, ...]
    keys: NodeKeys
    wrap: KemPrivateKey  # X-Wing; the private half of `keys.wrap`


@dataclass(frozen=True, slots=True)
class VerifiedAssets:
    """What the owners deposited for this node's task, in the witnessed log. Built only here."""

    values: Mapping[str, SecretBytes]  # by the asset's name
    cosigned_at: int  # seconds since 1970: when the witnesses saw a log with this use


def examine_asset_reply(
    reply: AssetReply, asked: AssetsAskedFor, bundle: VerifiedBundle
) -> Examination[VerifiedAssets]:
    """Hold the reply against what was asked for and the bundle that was examined before."""
    steps = Steps(ASSET_REPLY_STEPS, ReplyRefused)
    # 1. The use is the word of the KMS that was examined, …
    use = said_by_the_kms(steps, reply, bundle, "use", parse_use)
    if use is None:
        return steps.stopped()
    # 2. … under the contract in force, for this task, to this node, and in the log.
    task = (use.role, use.task) == ("gateway", bundle.contract.serving.name)
    checkpoint = check_logged(steps, reply, use, asked.keys, bundle, of_the_task=task)
    if checkpoint is None:
        return steps.stopped()
    # 3. What came is what was asked for, deposited on this line, and what the use names, …
    signed = steps.attempt(
        "assets.asked", lambda: [_deposit(one) for one in reply.assets], BadSignature, MalformedInput, TooLarge
    )
    if signed is None:
        return steps.stopped()
    here = [(deposit.terms.contract, deposit.terms.asset) for deposit, _ in signed]
    same = tuple(entry_digest(one.deposit) for one in reply.assets) == use.deposits
    wanted = here == [(asked.line, asset) for asset in asked.assets]
    steps.check("assets.asked", same and wanted, "is not what was asked for", found=", ".join(asked.assets))
    # 4. … each by its owner in the contract in force, and nobody else.
    others = [deposit.terms.asset for deposit, by in signed if not by <= _owner(bundle.contract, deposit.terms.asset)]
    steps.check("assets.owner", not others, f"somebody who does not own it deposited {', '.join(others)}")
    if not steps.clean:
        return steps.stopped()
    # 5. Each opens, and is what its owner sealed: a KMS that mixed two up is found out here.
    values = steps.attempt(
        "assets.value", lambda: _values(reply, asked), OpenFailed, MalformedInput, TooLarge, found="as deposited"
    )
    if values is None:
        return steps.stopped()
    return steps.examined(lambda: VerifiedAssets(values, checkpoint.cosigned_at))


def _deposit(asset: WrappedAsset) -> tuple[Deposit, frozenset[bytes]]:
    """The deposit and who signed it."""
    statement = open_statement(asset.deposit)
    if statement.kind != "deposit":
        raise MalformedInput(f"a {statement.kind} statement is no deposit")
    return parse_deposit(statement.payload), statement.signers


def _owner(contract: Contract, asset: str) -> frozenset[bytes]:
    """The keys of which any one signs for the asset's owner; none for what is no asset."""
    owners = {one.name: one.owner for one in contract.assets}
    return contract.voters.get(owners.get(asset, ""), frozenset())


def _values(reply: AssetReply, asked: AssetsAskedFor) -> Mapping[str, SecretBytes]:
    values: dict[str, SecretBytes] = {}
    use = entry_digest(reply.entry)
    for one in reply.assets:
        terms = parse_deposit(open_statement(one.deposit).payload).terms
        aad = canonical.encode(AssetSeal(use=use, deposit=entry_digest(one.deposit)))
        deposited = parse_deposited(unwrap(asked.wrap, one.wrapped, info=ASSET_INFO, aad=aad).reveal())
        if deposited.commitment() != terms.commitment:
            raise MalformedInput(f"{terms.asset} is not what its owner deposited")
        values[terms.asset] = SecretBytes(deposited.value)
    return values
