"""What an artifact's data key says of its header: that it is this key's, and that nobody changed it."""

from __future__ import annotations

import hmac
from typing import Final

import msgspec

from cloister.crypto import hkdf
from cloister.crypto.sealed_stream import KEY_SIZE
from cloister.errors import UsageError
from cloister.formats import canonical
from cloister.formats.model_manifest import ModelManifest, encode_manifest
from cloister.formats.sealed_artifact import ArtifactHeader
from cloister.sealing.refusal import ArtifactRefused
from cloister.secret import SecretBytes

_LABEL: Final = b"cloister artifact v1"


def key_check(key: SecretBytes, artifact: bytes) -> bytes:
    """32 bytes that this key alone gives for the artifact of this id, and that do not tell it.

    AES-GCM by itself can be made to open under two keys; this cannot.

    Raises:
        UsageError: a data key has another length.
    """
    if len(key) != KEY_SIZE:
        raise UsageError(f"a model's key has {KEY_SIZE} bytes, and this has {len(key)}")
    return hkdf.expand(hkdf.extract(_LABEL, key.reveal()), b"check" + artifact, 32)


def sealed_header(key: SecretBytes, artifact: bytes, manifest: ModelManifest) -> ArtifactHeader:
    """The header over a manifest, authenticated.

    Raises:
        TooLarge: the manifest is over its cap.
        UsageError: the key is none.
    """
    encoded = encode_manifest(manifest)
    bare = ArtifactHeader(id=artifact, key_check=key_check(key, artifact), manifest=encoded, mac=bytes(32))
    return msgspec.structs.replace(bare, mac=_mac(key, bare))


def require_key(key: SecretBytes, header: ArtifactHeader) -> None:
    """Hold a key against a header, and the header against the key.

    Raises:
        UsageError: it is no data key.
        ArtifactRefused: artifact.key, or artifact.header.
    """
    if not hmac.compare_digest(key_check(key, header.id), header.key_check):
        raise ArtifactRefused("artifact.key", "this key is another artifact's, or the artifact says so")
    bare = msgspec.structs.replace(header, mac=bytes(32))
    if not hmac.compare_digest(_mac(key, bare), header.mac):
        raise ArtifactRefused("artifact.header", "whoever has the key did not write this header")


def _mac(key: SecretBytes, header: ArtifactHeader) -> bytes:
    derived = hkdf.expand(hkdf.extract(_LABEL, key.reveal()), b"header" + header.id, 32)
    return hmac.digest(derived, canonical.encode(header), "sha256")
