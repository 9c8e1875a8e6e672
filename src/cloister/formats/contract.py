"""Contracts, first form: which code may use which model, where, for whom (docs/formats/contract.md)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.canonical import Count, Digest, Name, PublicKey, Seconds
from cloister.formats.constitution import Previous

Method = Literal["GET", "POST"]
ANY_ID = "{id}"  # as a path's last segment: any one name that is not empty, see `docs/formats/contract.md`
Path = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9/_.-]{0,200}$|^/([A-Za-z0-9/_.-]{0,195}/)?\{id\}$")]


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An organisation that signs, and as what."""

    name: Name
    duty: Literal["model-owner", "operator"]
    key: PublicKey


class NamedDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An engine or a model, by name and SHA-256."""

    name: Name
    digest: Digest


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request that the gateway passes to the engine; every other is refused."""

    method: Method
    path: Path


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first of a line has sequence 0 and no `previous`; its digest is the identity of the contract for good."""

    version: Literal[1] = 1
    name: Name
    sequence: Count
    previous: Previous
    constitution: Digest  # the KMS, by its genesis
    parties: Annotated[tuple[Party, ...], msgspec.Meta(min_length=1, max_length=16)]
    not_before: Seconds
    not_after: Seconds
    roles: Annotated[tuple[RoleReference, ...], msgspec.Meta(max_length=8)]
    sandbox: Digest  # of the sandbox profile
    engine: NamedDigest
    model: NamedDigest
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=64)]
    appraisal: AppraisalPolicy
    notice_seconds: Seconds
    local: bool

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()


def parse_contract(data: bytes) -> Contract:
    """Parse the payload of a `contract` statement."""
    return canonical.decode(data, Contract, limit=60_000)
