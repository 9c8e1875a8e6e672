"""A release of assets: the decision, the use that is logged first, and the reply that carries them afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from cloister.contract.asset_release import AssetDecision, AssetsAsked, PublishedUse, examine_assets, examine_use
from cloister.contract.custody_records import DepositRecord, RootRecord
from cloister.contract.release import ReleaseRefused
from cloister.crypto.hpke import OpenFailed, unwrap, wrap
from cloister.errors import Unavailable
from cloister.examination import Examination
from cloister.formats import canonical
from cloister.formats.custody import ASSET_INFO, DEPOSIT_INFO, AssetSeal, Use
from cloister.formats.custody_messages import AssetReply, WrappedAsset
from cloister.formats.evidence import Evidence
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.peers.exchange import PeerRefused
from cloister.secret import SecretBytes
from cloister.services.kms.deciding import decide, evidence_digest, log_with_evidence
from cloister.services.kms.history import Appended
from cloister.services.kms.refusals import failed_of
from cloister.services.kms.standing import Standing

Opened = Mapping[bytes, SecretBytes]  # what was deposited, by the digest of the deposit's entry


async def release_assets(standing: Standing, asked: AssetsAsked) -> bytes:
    """Judge a node's request, open what it asks for, log the use, and only once that counts give anything away.

    Raises:
        Refused: names the check; nothing left, and a use that did not count was spent by nobody.
        Unavailable: ledger or witnesses are down, or the root secret is not here; nothing left.
    """
    decision = await decide(standing, asked, _judge, "assets")
    opened = await _opened(standing, asked, decision)  # first: what cannot be opened shall spend no use
    entry = _entry(standing, decision, asked.evidence)
    appended, checkpoint = await log_with_evidence(standing, asked.evidence, entry)
    published = examine_use(
        decision, entry, index=appended.index, path=appended.path, checkpoint=checkpoint, state=standing.state
    ).require()
    return _reply(published, entry, appended, opened)


def _judge(standing: Standing, asked: AssetsAsked) -> Examination[AssetDecision]:
    return examine_assets(standing.state, asked, at=standing.now())


async def _opened(standing: Standing, asked: AssetsAsked, decision: AssetDecision) -> Opened:
    line = standing.state.lines[decision.line]
    try:
        return {
            deposit.placed.digest: await _plain(standing, deposit, line.custody.root(deposit.deposit.terms.generation))
            for deposit in decision.deposits
        }
    except ReleaseRefused as refusal:
        await standing.log_refusal(asked, failed_of(refusal), "assets")
        raise


async def _plain(standing: Standing, deposit: DepositRecord, root: RootRecord | None) -> SecretBytes:
    terms = deposit.deposit.terms
    key = None if root is None else standing.roots.intake(root)
    if key is None:
        raise Unavailable(
            f"root secret {terms.generation} is not held here: another instance may hand it over, or custodians recover"
            " it (cloister key recover)"
        )
    try:
        sealed = await standing.ledger.get_blob(deposit.deposit.blob)
    except PeerRefused as error:
        raise ReleaseRefused("asset.sealed", f"the ledger lost what {terms.asset}'s owner deposited") from error
    try:
        return unwrap(key, sealed, info=DEPOSIT_INFO, aad=canonical.encode(terms))
    except OpenFailed as error:
        shortfall = f"what was deposited as {terms.asset} does not open: its owner sealed it to another key or terms"
        raise ReleaseRefused("asset.sealed", shortfall) from error


def _entry(standing: Standing, decision: AssetDecision, evidence: Evidence) -> bytes:
    last = standing.state.lines[decision.line].custody.numbers.get(standing.instance.key, 0)
    record = Use(
        contract=decision.contract,
        number=last + 1,  # where the ledger's answer to one was lost, only that or the next counts
        role=decision.role,
        task=decision.task,
        deposits=tuple(one.placed.digest for one in decision.deposits),
        node=decision.evidence.keys,
        evidence=evidence_digest(evidence),
        checks=decision.checks,
        at=standing.now(),
    )
    return sign_statement("use", record, (standing.instance.secrets.sign,))


def _reply(published: PublishedUse, entry: bytes, appended: Appended, opened: Opened) -> bytes:
    """Takes a use that is published, so that nothing leaves on a decision alone."""
    decision, use = published.decision, entry_digest(entry)
    assets = []
    for deposit in decision.deposits:
        digest = deposit.placed.digest
        aad = canonical.encode(AssetSeal(use=use, deposit=digest))
        wrapped = wrap(decision.evidence.keys.wrap, opened[digest].reveal(), info=ASSET_INFO, aad=aad)
        assets.append(WrappedAsset(deposit=deposit.placed.entry, wrapped=wrapped))
    reply = AssetReply(
        entry=entry,
        index=published.index,
        path=appended.path,
        checkpoint=appended.checkpoint,
        assets=tuple(assets),
    )
    return canonical.encode(reply)
