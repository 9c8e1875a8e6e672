"""Signing and checking compact JWS with ES384 (RFC 7515); taking them apart is `formats.jws`'s."""

from __future__ import annotations

from collections.abc import Mapping

from cloister.crypto.es384 import Es384Key, check_es384
from cloister.crypto.signing import BadSignature
from cloister.formats.jwk import thumbprint
from cloister.formats.jws import Jws, JwsHeader, encode_base64url, signing_input

ES384 = "ES384"


def sign_jws(key: Es384Key, payload: bytes, *, typ: str) -> bytes:
    """The token of `payload`, signed by `key`, which it names by its thumbprint."""
    signed = signing_input(JwsHeader(alg=ES384, typ=typ, kid=thumbprint(key.public)), payload)
    return signed + b"." + encode_base64url(key.sign(signed))


def check_jws(jws: Jws, keys: Mapping[str, bytes]) -> None:
    """Check a token's signature by the one of `keys`, by `kid`, that it names; `alg` is not looked at.

    Raises:
        BadSignature: it names none of them, or the signature does not hold.
    """
    public = keys.get(jws.header.kid)
    if public is None:
        raise BadSignature("no key of the key set has the token's kid")
    check_es384(public, jws.signature, jws.signed)
