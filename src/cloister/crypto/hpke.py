"""HPKE contexts in base mode (RFC 9180) with export, over X25519 or X-Wing with HKDF-SHA256 and AES-128-GCM.

pyca's own HPKE is single-shot and cannot export, which Oblivious HTTP needs; tests hold this module against it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto import hkdf
from cloister.crypto.kem import KemPrivateKey, OpenFailed, encapsulate
from cloister.errors import UsageError
from cloister.formats.hpke_suite import (
    AEAD_AES_128_GCM,
    HASH_SIZE,
    KDF_HKDF_SHA256,
    KEMS,
    KEY_SIZE,
    NONCE_SIZE,
    TAG_SIZE,
    X25519_HKDF_SHA256,
    X_WING,
)
from cloister.secret import SecretBytes

__all__ = [
    "AEAD_AES_128_GCM",
    "KDF_HKDF_SHA256",
    "X25519_HKDF_SHA256",
    "X_WING",
    "KemPrivateKey",
    "OpenFailed",
    "RecipientContext",
    "SenderContext",
    "setup_recipient",
    "setup_sender",
    "unwrap",
    "wrap",
]

_BASE_MODE: Final = b"\x00"


class _Labels(NamedTuple):
    """What every key schedule of one suite and info shares; computed once, it saves a third of the HMACs."""

    secret: bytes
    expanded: tuple[bytes, bytes, bytes]  # the infos of the key, the base nonce and the exporter secret
    export: bytes


@lru_cache(maxsize=256)
def _labels(kem: int, info: bytes) -> _Labels:
    ids = (kem, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    prefix = b"HPKE-v1HPKE" + b"".join(number.to_bytes(2, "big") for number in ids)
    context = _BASE_MODE + hkdf.extract(b"", prefix + b"psk_id_hash") + hkdf.extract(b"", prefix + b"info_hash" + info)
    return _Labels(
        secret=prefix + b"secret",
        expanded=(
            KEY_SIZE.to_bytes(2, "big") + prefix + b"key" + context,
            NONCE_SIZE.to_bytes(2, "big") + prefix + b"base_nonce" + context,
            HASH_SIZE.to_bytes(2, "big") + prefix + b"exp" + context,
        ),
        export=prefix + b"sec",
    )


class _Context:
    """The key schedule's outcome (section 5.1) and the count of messages so far.

    Made from what `encapsulate` or `decapsulate` gave; a shared secret makes one context and no second.
    """

    __slots__ = ("_aead", "_base_nonce", "_export_label", "_exporter_secret", "_sequence")

    def __init__(self, kem: int, shared_secret: bytes, info: bytes) -> None:
        labels = _labels(kem, info)
        key, nonce, exporter = hkdf.blocks(hkdf.extract(shared_secret, labels.secret), labels.expanded)
        self._aead = AESGCM(key[:KEY_SIZE])
        self._base_nonce = int.from_bytes(nonce[:NONCE_SIZE], "big")
        self._exporter_secret = exporter
        self._export_label = labels.export
        self._sequence = 0

    def _nonce(self) -> bytes:
        # The RFC's limit of 2^96 - 1 messages cannot be counted to.
        return (self._base_nonce ^ self._sequence).to_bytes(NONCE_SIZE, "big")

    def export(self, context: bytes, length: int) -> bytes:
        """A secret of `length` bytes that both sides can derive (section 5.3).

        Raises:
            UsageError: `length` is not 0 to 8,160.
        """
        if not 0 <= length <= hkdf.LIMIT:
            raise UsageError(f"a context exports 0 to {hkdf.LIMIT} bytes, not {length}")
        info = length.to_bytes(2, "big") + self._export_label + context
        return hkdf.expand(self._exporter_secret, info, length)


@final
class SenderContext(_Context):
    """Seals messages in order. It cannot open: a recipient that sealed would repeat the sender's nonces."""

    __slots__ = ()

    def seal(self, aad: bytes, plaintext: bytes | bytearray | memoryview) -> bytes:
        """The next message's ciphertext, 16 bytes longer than `plaintext`."""
        ciphertext = self._aead.encrypt(self._nonce(), plaintext, aad)
        self._sequence += 1
        return ciphertext


@final
class RecipientContext(_Context):
    """Opens messages in the order they were sealed."""

    __slots__ = ()

    def open(self, aad: bytes, ciphertext: bytes | bytearray | memoryview) -> bytes:
        """The next message's plaintext; a failure does not advance the order.

        Raises:
            OpenFailed: altered, out of order, or sealed for another key, info or associated data.
        """
        try:
            plaintext = self._aead.decrypt(self._nonce(), ciphertext, aad)
        except InvalidTag as error:
            raise OpenFailed("the message does not open with this key, info and associated data") from error
        self._sequence += 1
        return plaintext

    def open_in_place(self, aad: bytes, sealed: memoryview) -> memoryview:
        """As `open`, but the plaintext takes the place of the ciphertext, so that whoever owns it can wipe it."""
        return self.open_into(aad, sealed, sealed)

    def open_into(self, aad: bytes, sealed: memoryview, room: memoryview) -> memoryview:
        """As `open`, but the plaintext is put at the beginning of `room`, which has to be large enough."""
        plaintext = room[: max(len(sealed) - TAG_SIZE, 0)]
        try:
            self._aead.decrypt_into(self._nonce(), sealed, aad, plaintext)
        except InvalidTag as error:
            raise OpenFailed("the message does not open with this key, info and associated data") from error
        self._sequence += 1
        return plaintext


def setup_sender(kem: int, public: bytes, info: bytes) -> tuple[bytes, SenderContext]:
    """An encapsulated key for the holder of `public`, and the context that seals to it (`SetupBaseS`).

    Raises:
        MalformedInput: not a usable public key of this KEM, or a KEM that is not one of ours.
    """
    shared_secret, enc = encapsulate(kem, public)
    return enc, SenderContext(kem, shared_secret, info)


def setup_recipient(key: KemPrivateKey, enc: bytes, info: bytes) -> RecipientContext:
    """The context that opens what was sealed to `key` (`SetupBaseR`).

    Raises:
        OpenFailed: `enc` is of the wrong length or a low-order point.
    """
    return RecipientContext(key.kem, key.decapsulate(enc), info)


def wrap(kem_public: bytes, plaintext: bytes, *, info: bytes, aad: bytes) -> bytes:
    """Seal one message to an X-Wing public key: the encapsulated key (1,120 bytes), then the ciphertext.

    Raises:
        MalformedInput: not an X-Wing public key (1,216 bytes).
    """
    enc, context = setup_sender(X_WING, kem_public, info)
    return enc + context.seal(aad, plaintext)


def unwrap(key: KemPrivateKey, data: bytes, *, info: bytes, aad: bytes) -> SecretBytes:
    """Open what `wrap` made.

    Raises:
        OpenFailed: altered, cut short, or wrapped for another key, info or associated data.
        UsageError: `key` is not an X-Wing key; every key wrap is post-quantum.
    """
    if key.kem != X_WING:
        raise UsageError("keys are wrapped to X-Wing keys only")
    size = KEMS[X_WING].enc
    if len(data) < size + TAG_SIZE:
        raise OpenFailed(f"a wrapped message has at least {size + TAG_SIZE} bytes, not {len(data)}")
    return SecretBytes(setup_recipient(key, data[:size], info).open(aad, data[size:]))
