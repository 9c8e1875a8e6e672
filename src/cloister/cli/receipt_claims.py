"""What a receipt says, before anything of it is checked."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from cloister.cli.receipt_models import Model, contract_of
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.contract_verifier import title_of
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.response_receipt import StoredReceipt, parse_response_receipt


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what was sent, by its field's name."""

    name: str
    sha256: str


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt's own words. Digests are hexadecimal."""

    made: str  # a minute, UTC
    method: str
    path: str
    parts: tuple[Part, ...]
    status: int
    gateway: str  # the key that signed
    contract: str
    contract_name: str
    parties: tuple[str, ...]  # of the contract, with their duties
    engine: str
    model: str  # the names of `models`
    models: tuple[Model, ...]
    unsafe: tuple[str, ...]
    verifiers: tuple[str, ...]  # whose word counts in place of evidence
    epoch: str
    log_size: int  # entries of the log that the checkpoint covers


def claims(stored: StoredReceipt) -> Claims:
    """What the receipt says.

    Raises:
        MalformedInput, TooLarge, BadSignature: it holds no core, or no bundle.
    """
    core = CoseSign1.parse(stored.core)
    said = parse_response_receipt(core.payload or b"")
    bundle = parse_key_bundle(stored.bundle)
    contract, models = contract_of(bundle, said.contract, at=said.at)
    return Claims(
        made=datetime.fromtimestamp(said.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        method=stored.request.method,
        path=stored.request.path,
        parts=tuple(Part(name=part.name or "body", sha256=part.digest.hex()) for part in stored.request.parts),
        status=stored.status,
        gateway=core.kid.hex(),
        contract=said.contract.hex(),
        contract_name=contract.name,
        parties=tuple(f"{party.name} ({', '.join(party.duties)})" for party in contract.parties),
        engine=contract.serving.engine.name,
        model=", ".join(model.name for model in models),
        models=models,
        unsafe=tuple(contract.appraisal.unsafe),
        verifiers=tuple(map(title_of, named_verifiers(contract.appraisal))),
        epoch=said.epoch.hex(),
        log_size=parse_checkpoint(parse_note(bundle.checkpoint).text).size,
    )


def lines(said: Claims) -> list[str]:
    """The claims for a person."""
    accepted = f", accepting {', '.join(said.unsafe)}" if said.unsafe else ""
    accepted += f", on the word of {', '.join(said.verifiers)}" if said.verifiers else ""
    rows = [
        ("made", said.made),
        ("asked", f"{said.method} {said.path}"),
        *((f"  {part.name}", f"sha256 {part.sha256}") for part in said.parts),
        ("answered", f"status {said.status}, by {said.engine} with the model {said.model}"),
        *(row for model in said.models for row in (("  weights", f"sha256 {model.sha256}"), ("", model.sentence))),
        ("gateway", said.gateway),
        ("contract", f"{said.contract} ({said.contract_name}{accepted})"),
        ("parties", "; ".join(said.parties)),
        ("epoch", said.epoch),
        ("log", f"{said.log_size} entries, cosigned by its witnesses"),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]
