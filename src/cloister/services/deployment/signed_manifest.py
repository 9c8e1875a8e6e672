"""Signed node manifests: made by an operator's key, and opened once the signature holds."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.crypto.cose import open_parsed, sign1
from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.node_manifest import CONTENT_TYPE, MAXIMUM_SIGNED, NodeManifest, parse_node_manifest, require_form


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest whose signature holds. Whether its signer may say it, the examination judges. Built only here."""

    manifest: NodeManifest
    signer: bytes  # an Ed25519 public key, 32 bytes
    signed: bytes  # the COSE_Sign1


def sign_node_manifest(manifest: NodeManifest, key: SigningKey) -> bytes:
    """The manifest, signed.

    Raises:
        MalformedInput: it makes no sense, and no machine would take it.
    """
    require_form(manifest)
    return sign1(key, canonical.encode(manifest), content_type=CONTENT_TYPE)


def named_signer(data: bytes) -> bytes:
    """Whose signature a manifest says that it bears, 32 bytes. Nothing is checked, and nothing of the content parsed.

    Raises:
        TooLarge, MalformedInput: no signed manifest.
    """
    return _message(data).kid


def open_node_manifest(data: bytes) -> SignedManifest:
    """Check the signature on a manifest, and only then parse it.

    Raises:
        TooLarge, MalformedInput: no signed manifest.
        BadSignature: the signature does not hold.
    """
    message = _message(data)
    if message.payload is None:
        raise MalformedInput("a signed manifest carries its payload")
    payload = open_parsed(message, public=message.kid, content_type=CONTENT_TYPE)
    return SignedManifest(parse_node_manifest(payload), message.kid, data)


def _message(data: bytes) -> CoseSign1:
    if len(data) > MAXIMUM_SIGNED:
        raise TooLarge(f"a signed manifest of {len(data)} bytes, the cap is {MAXIMUM_SIGNED}")
    return CoseSign1.parse(data)
