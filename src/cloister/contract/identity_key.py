"""The key that a node wants a certificate for: the node names it, and the key shows that it is there."""

from __future__ import annotations

from cloister.crypto.cose import open1, sign1
from cloister.crypto.p256 import P256Key, check_p256_signature
from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.identity import IDENTITY_KEY_TYPE, IdentityKey, parse_identity_key


def sign_identity_key(node: SigningKey, key: P256Key, *, line: bytes, challenge: bytes) -> tuple[bytes, bytes]:
    """The node's word on `key`, and the proof of its possession."""
    said = IdentityKey(contract=line, challenge=challenge, key=key.public)
    signed = sign1(node, canonical.encode(said), content_type=IDENTITY_KEY_TYPE)
    return signed, key.sign(signed)


def possessed_key(signed: bytes, proof: bytes, *, line: bytes, node: bytes) -> IdentityKey:
    """What the node with this signing key says of its key, for this contract line.

    Raises:
        TooLarge, MalformedInput: it says nothing of the kind, or of another line.
        BadSignature: the node did not sign it, or does not have the key.
    """
    said = parse_identity_key(open1(signed, public=node, content_type=IDENTITY_KEY_TYPE))
    if said.contract != line:
        raise MalformedInput("is for another contract")
    check_p256_signature(said.key, proof, signed)
    return said
