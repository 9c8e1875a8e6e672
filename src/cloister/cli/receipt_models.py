"""Which models answered, by the contract that a receipt carries: name, digest, owner, and the keys that signed it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cloister.contract.release_policy import grants_in_force
from cloister.errors import MalformedInput
from cloister.formats.contract import Contract, parse_contract
from cloister.formats.key_bundle import KeyBundle
from cloister.ledger.statements import SignedStatement, open_statement


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the serving task had its owner's grant for when it answered. Digests and keys are hexadecimal."""

    name: str
    sha256: str  # of its weights: of the file, or of the manifest that lists the files
    owner: str  # a party of the contract
    owner_keys: tuple[str, ...]
    signed_by: tuple[str, ...]  # those of the owner's keys that signed the contract's text

    @property
    def sentence(self) -> str:
        """For a person."""
        if self.signed_by:
            return f"of {self.owner}, who signed the contract with the key {', '.join(self.signed_by)}"
        return f"of {self.owner}, whose key is {', '.join(self.owner_keys)}; others signed this text of the contract"


def contract_of(bundle: KeyBundle, digest: bytes, *, at: int) -> tuple[Contract, tuple[Model, ...]]:
    """The contract of that digest, or else the last one that the bundle shows, and its models `at` (since 1970).

    Raises:
        MalformedInput, TooLarge, BadSignature: the bundle shows none, or a damaged one.
    """
    shown = list(_contracts(bundle))
    if not shown:
        raise MalformedInput("the bundle shows no contract")
    statement, contract = next((one for one in shown if one[1].digest() == digest), shown[-1])
    return contract, _models(statement, contract, at)


def _contracts(bundle: KeyBundle) -> Iterator[tuple[SignedStatement, Contract]]:
    """Votes and times stand between them."""
    for shown in bundle.contracts:
        statement = open_statement(shown.entry)
        if statement.kind == "contract":
            yield statement, parse_contract(statement.payload)


def _models(statement: SignedStatement, contract: Contract, at: int) -> tuple[Model, ...]:
    granted = {grant.asset for grant in grants_in_force(contract, contract.serving.name, at=at)}
    keys = {party.name: party.keys for party in contract.parties}
    return tuple(
        Model(
            name=asset.name,
            sha256=asset.digest.hex(),
            owner=asset.owner,
            owner_keys=tuple(key.hex() for key in keys.get(asset.owner, ())),
            signed_by=tuple(key.hex() for key in keys.get(asset.owner, ()) if key in statement.signers),
        )
        for asset in contract.assets
        if asset.kind == "model" and asset.name in granted
    )
