"""Encapsulated requests and responses (RFC 9458 section 4), both sides. What is inside is Binary HTTP, not parsed here.

A gateway reads the header first (`parse_header`), finds its key, then opens; `KeyProblem` and everything below it goes
to the client as HTTP 400 with the problem type `PROBLEM_TYPE` (section 5.3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto import hkdf
from cloister.crypto.hpke import (
    KemPrivateKey,
    OpenFailed,
    RecipientContext,
    SenderContext,
    setup_recipient,
    setup_sender,
)
from cloister.errors import MalformedInput, UsageError
from cloister.formats.hpke_suite import KEMS, KEY_SIZE, NONCE_SIZE, SYMMETRIC_SUITE, TAG_SIZE, SymmetricSuite
from cloister.formats.key_config import KeyConfig
from cloister.secret import SecretBytes

REQUEST_MEDIA_TYPE: Final = "message/ohttp-req"
RESPONSE_MEDIA_TYPE: Final = "message/ohttp-res"
PROBLEM_TYPE: Final = "https://iana.org/assignments/http-problem-types#ohttp-key"

HEADER_SIZE: Final = 7  # bytes: key id, KEM, KDF, AEAD
RESPONSE_NONCE_SIZE: Final = max(NONCE_SIZE, KEY_SIZE)  # bytes; also what is exported for the response
_NUMBERS: Final = struct.Struct(">BHHH")
_REQUEST_LABEL: Final = b"message/bhttp request"
_RESPONSE_LABEL: Final = b"message/bhttp response"


class KeyProblem(UsageError):
    """The request cannot be opened with a key of this gateway; a client gets a fresh key configuration and retries."""

    problem_type: ClassVar[str] = PROBLEM_TYPE


class UnknownKey(KeyProblem):
    """The request names a key id that this gateway does not have."""


class UnsupportedSuite(KeyProblem):
    """The request names algorithms that its key does not take."""


class RequestRefused(KeyProblem):
    """The request was altered, or sealed to another key."""


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """What an encapsulated request says of itself in the clear."""

    key_id: int
    kem: int
    suite: SymmetricSuite

    def encode(self) -> bytes:
        """The first 7 bytes of the request."""
        return b"".join(
            (bytes([self.key_id]), *(number.to_bytes(2, "big") for number in (self.kem, *self.suite))),
        )


def parse_header(data: bytes) -> RequestHeader:
    """Read the header of an encapsulated request; nothing is decrypted.

    Raises:
        MalformedInput: fewer than 7 bytes.
    """
    if len(data) < HEADER_SIZE:
        raise MalformedInput(f"an encapsulated request starts with {HEADER_SIZE} bytes of header, not {len(data)}")
    key_id, kem, kdf, aead = _NUMBERS.unpack_from(data)
    return RequestHeader(key_id, kem, SymmetricSuite(kdf, aead))


def encapsulate_request(config: KeyConfig, request: bytes) -> tuple[bytes, ResponseOpener]:
    """Seal `request` to the gateway's key: the message/ohttp-req bytes, and what opens its one answer.

    Raises:
        UnsupportedSuite: the configuration does not offer HKDF-SHA256 with AES-128-GCM.
        MalformedInput: its public key is not usable.
    """
    head, context = sender(config, _REQUEST_LABEL)
    return head + context.seal(b"", request), ResponseOpener(head[HEADER_SIZE:], _response_secret(context))


def sender(config: KeyConfig, label: bytes) -> tuple[bytes, SenderContext]:
    """The head of an encapsulated request (its header, then the encapsulated key), and the context that seals it.

    Raises:
        UnsupportedSuite, MalformedInput: as `encapsulate_request` does.
    """
    if SYMMETRIC_SUITE not in config.suites:
        raise UnsupportedSuite("the key configuration does not offer HKDF-SHA256 with AES-128-GCM")
    header = RequestHeader(config.key_id, config.kem, SYMMETRIC_SUITE).encode()
    enc, context = setup_sender(config.kem, config.public, _info(label, header))
    return header + enc, context


class DecapsulatedRequest(NamedTuple):
    """An opened request; `enc` is what a replay table remembers, `sealer` answers once."""

    request: bytes
    enc: bytes
    sealer: ResponseSealer


class OpenedInPlace(NamedTuple):
    """As `DecapsulatedRequest`; `request` is a view of what held the ciphertext, and its owner's to wipe."""

    request: memoryview
    enc: bytes
    sealer: ResponseSealer


def open_in_place(key: KemPrivateKey, key_id: int, data: memoryview) -> OpenedInPlace:
    """`decapsulate_request` without a copy: the plaintext takes the ciphertext's place in `data`.

    Raises:
        MalformedInput, UnknownKey, UnsupportedSuite, RequestRefused: as `decapsulate_request` does; `data` then holds
            nothing of use.
    """
    end = HEADER_SIZE + KEMS[key.kem].enc
    head = bytes(data[:end])
    require_key(key, key_id, head)
    if len(data) < end + TAG_SIZE:
        raise MalformedInput(f"an encapsulated request of KEM 0x{key.kem:04x} has at least {end + TAG_SIZE} bytes")
    try:
        context = recipient(key, head, _REQUEST_LABEL)
        request = context.open_in_place(b"", data[end:])
    except OpenFailed as error:
        raise RequestRefused(f"the request does not open with key {key_id}") from error
    enc = head[HEADER_SIZE:]
    return OpenedInPlace(request, enc, ResponseSealer(enc, _response_secret(context)))


def decapsulate_request(key: KemPrivateKey, key_id: int, data: bytes) -> DecapsulatedRequest:
    """Open an encapsulated request with the gateway's key of that id.

    Raises:
        MalformedInput: shorter than a header, an encapsulated key and a tag.
        UnknownKey: the request names another key id.
        UnsupportedSuite: the request names algorithms that the key does not take.
        RequestRefused: altered, or sealed to another key.
    """
    require_key(key, key_id, data)
    end = HEADER_SIZE + KEMS[key.kem].enc
    if len(data) < end + TAG_SIZE:
        raise MalformedInput(f"an encapsulated request of KEM 0x{key.kem:04x} has at least {end + TAG_SIZE} bytes")
    enc = data[HEADER_SIZE:end]
    try:
        context = recipient(key, data[:end], _REQUEST_LABEL)
        request = context.open(b"", data[end:])
    except OpenFailed as error:
        raise RequestRefused(f"the request does not open with key {key_id}") from error
    return DecapsulatedRequest(request, enc, ResponseSealer(enc, _response_secret(context)))


def require_key(key: KemPrivateKey, key_id: int, data: bytes) -> None:
    """Hold the header that `data` begins with against the gateway's key.

    Raises:
        MalformedInput, UnknownKey, UnsupportedSuite: as `decapsulate_request` does.
    """
    if data[:HEADER_SIZE] == _header(key_id, key.kem):
        return
    header = parse_header(data)
    if header.key_id != key_id:
        raise UnknownKey(f"the request is for key {header.key_id}, not {key_id}")
    if header.kem != key.kem or header.suite != SYMMETRIC_SUITE:
        raise UnsupportedSuite(f"key {key_id} takes KEM 0x{key.kem:04x} with HKDF-SHA256 and AES-128-GCM only")


def recipient(key: KemPrivateKey, head: bytes, label: bytes) -> RecipientContext:
    """The context that opens what was sealed behind `head`, whose header was held against the key.

    Raises:
        OpenFailed: the encapsulated key is a low-order point.
    """
    return setup_recipient(key, head[HEADER_SIZE:], _info(label, head[:HEADER_SIZE]))


@final
class ResponseSealer:
    """The gateway's side of one answer."""

    __slots__ = ("_enc", "_secret")

    def __init__(self, enc: bytes, secret: SecretBytes) -> None:
        self._enc = enc
        self._secret = secret

    def seal(self, response: bytes, *, nonce: bytes) -> bytes:
        """The message/ohttp-res bytes: the nonce, then the ciphertext.

        Args:
            response: Binary HTTP.
            nonce: 16 random bytes, never used before.

        Raises:
            UsageError: the nonce has another length.
        """
        if len(nonce) != RESPONSE_NONCE_SIZE:
            raise UsageError(f"a response nonce has {RESPONSE_NONCE_SIZE} bytes, not {len(nonce)}")
        aead, iv = response_keys(self._enc, self._secret, nonce)
        return nonce + aead.encrypt(iv, response, b"")

    def seal_in_place(self, message: memoryview, *, nonce: bytes) -> None:
        """As `seal`, without a copy: `message` has room for the nonce, then the Binary HTTP, then room for the tag.

        Raises:
            UsageError: the nonce has another length.
        """
        if len(nonce) != RESPONSE_NONCE_SIZE:
            raise UsageError(f"a response nonce has {RESPONSE_NONCE_SIZE} bytes, not {len(nonce)}")
        aead, iv = response_keys(self._enc, self._secret, nonce)
        message[:RESPONSE_NONCE_SIZE] = nonce
        aead.encrypt_into(iv, message[RESPONSE_NONCE_SIZE:-TAG_SIZE], b"", message[RESPONSE_NONCE_SIZE:])


@final
class ResponseOpener:
    """The client's side of one answer."""

    __slots__ = ("_enc", "_secret")

    def __init__(self, enc: bytes, secret: SecretBytes) -> None:
        self._enc = enc
        self._secret = secret

    def open(self, data: bytes) -> bytes:
        """The Binary HTTP bytes of the answer.

        Raises:
            MalformedInput: shorter than a nonce and a tag.
            OpenFailed: altered, or an answer to another request.
        """
        if len(data) < RESPONSE_NONCE_SIZE + TAG_SIZE:
            raise MalformedInput(f"an encapsulated response has at least {RESPONSE_NONCE_SIZE + TAG_SIZE} bytes")
        aead, iv = response_keys(self._enc, self._secret, data[:RESPONSE_NONCE_SIZE])
        try:
            return aead.decrypt(iv, data[RESPONSE_NONCE_SIZE:], b"")
        except InvalidTag as error:
            raise OpenFailed("the response was altered, or answers another request") from error


@lru_cache(maxsize=512)  # one for each key id and KEM
def _header(key_id: int, kem: int) -> bytes:
    return RequestHeader(key_id, kem, SYMMETRIC_SUITE).encode()


def _info(label: bytes, header: bytes) -> bytes:
    return label + b"\x00" + header


def _response_secret(context: SenderContext | RecipientContext) -> SecretBytes:
    return SecretBytes(context.export(_RESPONSE_LABEL, RESPONSE_NONCE_SIZE))


def response_keys(enc: bytes, secret: SecretBytes, nonce: bytes) -> tuple[AESGCM, bytes]:
    """The AEAD and nonce of section 4.4: "salt = concat(enc, response_nonce)"."""
    key, iv = hkdf.blocks(hkdf.extract(enc + nonce, secret.reveal()), (b"key", b"nonce"))
    return AESGCM(key[:KEY_SIZE]), iv[:NONCE_SIZE]
