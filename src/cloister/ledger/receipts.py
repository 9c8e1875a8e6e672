"""COSE receipts (RFC 9942): the log's signed word, readable by others' tools, that an entry is in it or that it grew.

A receipt says nothing about witnesses: inside Cloister a cosigned checkpoint and a path count, never a receipt.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloister.crypto.merkle import check_consistency, included_root
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput
from cloister.formats.checkpoint import Checkpoint
from cloister.formats.cose_receipt import ConsistencyProof, InclusionProof, Receipt, parse_receipt, protected_header
from cloister.formats.cose_sign1 import sig_structure


@dataclass(frozen=True, slots=True)
class IncludedLeaf:
    """The log signed a root of `size` leaves with the leaf at `index`. Built only here."""

    size: int
    index: int
    root: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class GrownLog:
    """The log signed a root of `size` leaves that continues the older one. Built only here."""

    old_size: int
    size: int
    root: bytes  # 32 bytes


def sign_inclusion(key: SigningKey, checkpoint: Checkpoint, index: int, path: tuple[bytes, ...]) -> bytes:
    """The receipt that leaf `index` is in the tree of `checkpoint`."""
    return _signed(key, checkpoint, (InclusionProof(checkpoint.size, index, path),), ())


def sign_consistency(key: SigningKey, checkpoint: Checkpoint, old_size: int, path: tuple[bytes, ...]) -> bytes:
    """The receipt that the tree of `checkpoint` continues that of `old_size` leaves."""
    return _signed(key, checkpoint, (), (ConsistencyProof(old_size, checkpoint.size, path),))


def verify_inclusion(data: bytes, *, leaf: bytes, log_key: VerificationKey) -> IncludedLeaf:
    """Check that a receipt shows `leaf` (a leaf hash, 32 bytes) under a root that `log_key` signed.

    Of several proofs, one must; the others may be of other leaves of the same tree.

    Raises:
        TooLarge, MalformedInput: not a receipt with an inclusion proof.
        BadProof: no path of it fits its size and index.
        BadSignature: the log signed none of the roots that its proofs lead to.
    """
    receipt = parse_receipt(data)
    if not receipt.inclusion:
        raise MalformedInput("the receipt holds no inclusion proof")
    included = [_led_to(leaf, proof) for proof in receipt.inclusion]
    for candidate in included:
        if _holds(receipt, candidate.root, log_key):
            return candidate
    raise BadSignature("the log signed no root that the receipt's proofs lead to")


def verify_consistency(data: bytes, *, old_root: bytes, new_root: bytes, log_key: VerificationKey) -> GrownLog:
    """Check that a receipt shows that `new_root`, which `log_key` signed, continues `old_root`.

    Raises:
        TooLarge, MalformedInput: not a receipt with one consistency proof.
        BadProof: the path does not lead from one root to the other.
        BadSignature: the log did not sign `new_root`.
    """
    receipt = parse_receipt(data)
    if len(receipt.consistency) != 1:
        raise MalformedInput("the receipt holds no consistency proof, or several")
    (proof,) = receipt.consistency
    check_consistency(proof.old, old_root, proof.new, new_root, proof.path)
    if not _holds(receipt, new_root, log_key):
        raise BadSignature("the log did not sign this root")
    return GrownLog(proof.old, proof.new, new_root)


def _signed(
    key: SigningKey,
    checkpoint: Checkpoint,
    inclusion: tuple[InclusionProof, ...],
    consistency: tuple[ConsistencyProof, ...],
) -> bytes:
    protected = protected_header(kid=key.public, issuer=checkpoint.origin)
    signature = key.sign(sig_structure(protected, checkpoint.root))
    return Receipt(protected, key.public, inclusion, consistency, signature).encode()


def _holds(receipt: Receipt, root: bytes, log_key: VerificationKey) -> bool:
    try:
        log_key.check(receipt.algorithm, receipt.signature, sig_structure(receipt.protected, root))
    except BadSignature:
        return False
    return True


def _led_to(leaf: bytes, proof: InclusionProof) -> IncludedLeaf:
    return IncludedLeaf(proof.size, proof.index, included_root(leaf, proof.index, proof.size, proof.path))
