"""COSE receipts (RFC 9942) over RFC 9162 SHA-256 trees: proofs in the unprotected header, the root detached.

Ours are deterministic CBOR. Those of other logs are read as they are written, since RFC 9942 asks for no order: any
definite-length encoding without duplicate keys or trailing bytes, further protected labels, several proofs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.checkpoint import MAXIMUM_SIZE

TAG = 18
ALG, CRIT, KID, CWT_CLAIMS, VDS, VDP = 1, 2, 4, 15, 395, 396
EDDSA = -8
RFC9162_SHA256 = 1  # the one verifiable data structure read here
INCLUSION, CONSISTENCY = -1, -2
ISSUER = 1  # the CWT claim (RFC 8392 section 3.1.1)
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
    signature: bytes  # 64 bytes

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
        TooLarge, MalformedInput: not a receipt, or not one of Ed25519 over an RFC 9162 SHA-256 tree.
    """
    if len(data) > MAXIMUM_RECEIPT:
        raise TooLarge(f"a receipt of {len(data)} bytes, the cap is {MAXIMUM_RECEIPT}")
    message = _decode(data)
    parts = message.value if isinstance(message, cbor2.CBORTag) and message.tag == TAG else None
    if not isinstance(parts, (list, tuple)) or len(parts) != 4:
        raise MalformedInput("a receipt is a COSE_Sign1 tagged 18, of four parts")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(signature, bytes) or len(signature) != 64:
        raise MalformedInput("a receipt has a protected header and an Ed25519 signature of 64 bytes")
    # RFC 9942 section 5.2: the payload is the root, detached; bytes that stood there would prove nothing of the leaf.
    if payload is not None:
        raise MalformedInput("a receipt with an attached payload")
    kid = _protected(protected)
    inclusion, consistency = _proofs(unprotected)
    return Receipt(protected, kid, inclusion, consistency, signature)


def _protected(data: bytes) -> bytes | None:
    header = _decode(data)
    if not isinstance(header, Mapping) or CRIT in header:
        raise MalformedInput("the protected header is a map without critical labels")
    if not _is(header.get(ALG), EDDSA):
        raise MalformedInput("the algorithm is not EdDSA (-8)")
    # Read from the protected header alone: the signature must cover what kind of tree the root is of.
    if not _is(header.get(VDS), RFC9162_SHA256):
        raise MalformedInput("the verifiable data structure is not RFC9162_SHA256 (1)")
    kid = header.get(KID)
    if not isinstance(kid, (bytes, type(None))):
        raise MalformedInput("a key id is bytes")
    return kid


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
    value = _decode(item) if isinstance(item, bytes) else None
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


def _decode(data: bytes) -> Any:
    canonical.require_plain_items(data)
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream, allow_indefinite=False, allow_duplicate_keys=False, max_depth=8).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not CBOR: {error}") from error
    if stream.read(1):
        raise MalformedInput("bytes after the end")
    return value


def _is(value: object, number: int) -> bool:
    """In Python True equals 1 and 1.0 does too; on the wire they are other values."""
    return type(value) is int and value == number


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAXIMUM_SIZE
