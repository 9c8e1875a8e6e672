"""COSE receipts (RFC 9942) over RFC 9162 SHA-256 trees: proofs in the unprotected header, the root detached.

Ours are deterministic CBOR and signed with Ed25519. Those of other logs are read as they are written, since RFC 9942
asks for no order (`foreign_cose`), with several proofs, and under ES256 or ES384, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cbor2

from cloister.errors import MalformedInput
from cloister.formats.checkpoint import MAXIMUM_SIZE
from cloister.formats.foreign_cose import (
    ALG,
    CWT_CLAIMS,
    EDDSA,
    ISSUER,
    KID,
    TAG,
    decode_foreign,
    is_number,
    parse_foreign_sign1,
)

VDS, VDP = 395, 396
RFC9162_SHA256 = 1  # the one verifiable data structure read here
INCLUSION, CONSISTENCY = -1, -2
MAXIMUM_RECEIPT = 65_535  # bytes
MAXIMUM_PROOFS = 16
MAXIMUM_PATH = 64  # hashes; a tree of 2^63 leaves has paths of 63, a consistency proof one more


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Leaf `index` is in the tree of `size` leaves (RFC 9942 section 5.2)."""

    size: int
    index: int
    path: tuple[bytes, ...]  # 32 bytes each

    def encode(self) -> bytes:
        """The CBOR that stands in a receipt's byte string."""
        return cbor2.dumps([self.size, self.index, list(self.path)], canonical=True)


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The tree of `new` leaves continues that of `old` (RFC 9942 section 5.3)."""

    old: int
    new: int
    path: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The CBOR that stands in a receipt's byte string."""
        return cbor2.dumps([self.old, self.new, list(self.path)], canonical=True)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt. Neither its proofs nor its signature are checked."""

    protected: bytes  # as signed
    kid: bytes | None
    inclusion: tuple[InclusionProof, ...]
    consistency: tuple[ConsistencyProof, ...]
    signature: bytes
    algorithm: int = EDDSA

    def encode(self) -> bytes:
        """The tagged encoding, deterministic."""
        proofs: dict[int, list[bytes]] = {}
        if self.inclusion:
            proofs[INCLUSION] = [proof.encode() for proof in self.inclusion]
        if self.consistency:
            proofs[CONSISTENCY] = [proof.encode() for proof in self.consistency]
        return cbor2.dumps(cbor2.CBORTag(TAG, [self.protected, {VDP: proofs}, None, self.signature]), canonical=True)


def protected_header(*, kid: bytes, issuer: str) -> bytes:
    """The protected header of a receipt of ours: EdDSA, the log's key, its origin as issuer, the tree's kind."""
    return cbor2.dumps({ALG: EDDSA, KID: kid, VDS: RFC9162_SHA256, CWT_CLAIMS: {ISSUER: issuer}}, canonical=True)


def parse_receipt(data: bytes) -> Receipt:
    """Parse a receipt, at most 65,535 bytes and 16 proofs.

    Raises:
        TooLarge, MalformedInput: not a receipt, or not one over an RFC 9162 SHA-256 tree.
    """
    message = parse_foreign_sign1(data, limit=MAXIMUM_RECEIPT)
    # RFC 9942 section 5.2: the payload is the root, detached; bytes that stood there would prove nothing of the leaf.
    if message.payload is not None:
        raise MalformedInput("a receipt with an attached payload")
    # Read from the protected header alone: the signature must cover what kind of tree the root is of.
    if not is_number(message.header.get(VDS), RFC9162_SHA256):
        raise MalformedInput("the verifiable data structure is not RFC9162_SHA256 (1)")
    inclusion, consistency = _proofs(message.unprotected)
    return Receipt(message.protected, message.kid, inclusion, consistency, message.signature, message.algorithm)


def _proofs(unprotected: object) -> tuple[tuple[InclusionProof, ...], tuple[ConsistencyProof, ...]]:
    proofs = unprotected.get(VDP) if isinstance(unprotected, Mapping) else None
    if not isinstance(proofs, Mapping) or not proofs or not set(proofs) <= {INCLUSION, CONSISTENCY}:
        raise MalformedInput("the unprotected header holds inclusion or consistency proofs")
    inclusion = tuple(InclusionProof(*_proof(item)) for item in _listed(proofs.get(INCLUSION)))
    consistency = tuple(ConsistencyProof(*_proof(item)) for item in _listed(proofs.get(CONSISTENCY)))
    if any(proof.index >= proof.size for proof in inclusion):
        raise MalformedInput("an inclusion proof of a leaf outside its tree")
    if any(not 0 < proof.old <= proof.new for proof in consistency):
        raise MalformedInput("a consistency proof from size 0, or to a smaller size")
    if not 0 < len(inclusion) + len(consistency) <= MAXIMUM_PROOFS:
        raise MalformedInput(f"a receipt holds 1 to {MAXIMUM_PROOFS} proofs")
    return inclusion, consistency


def _listed(value: object) -> Sequence[object]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or len(value) > MAXIMUM_PROOFS:
        raise MalformedInput(f"proofs are a list of at most {MAXIMUM_PROOFS}")
    return value


def _proof(item: object) -> tuple[int, int, tuple[bytes, ...]]:
    value = decode_foreign(item) if isinstance(item, bytes) else None
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise MalformedInput("a proof is two numbers and a path, in a byte string")
    first, second, path = value
    if not _is_size(first) or not _is_size(second):
        raise MalformedInput("sizes and indices are whole numbers below 2^63")
    if not isinstance(path, (list, tuple)) or len(path) > MAXIMUM_PATH:
        raise MalformedInput(f"a path is a list of at most {MAXIMUM_PATH} hashes")
    if any(not isinstance(node, bytes) or len(node) != 32 for node in path):
        raise MalformedInput("a hash in a path has 32 bytes")
    return first, second, tuple(path)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAXIMUM_SIZE
