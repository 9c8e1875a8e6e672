"""Chunked encapsulated requests and responses (draft-ietf-ohai-chunked-ohttp), both sides; no I/O.

A message is a head, then chunks: each behind its length, the last behind a zero and reaching to the end of the body
that carries it. Order is in the nonces and the end in the last chunk's associated data, so a message that was cut,
reordered or continued does not open as a whole one. Where the inner message looks complete says nothing: "endpoints
that depend on having a complete message MUST ensure that they do not consider a message complete until having
received a chunk with a 0-valued length prefix" (section 7.1). So the last chunk's plaintext comes from `end()` alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar, Final, Protocol, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto.hpke import KemPrivateKey, OpenFailed, RecipientContext, SenderContext
from cloister.errors import CloisterError, MalformedInput, TooLarge, UsageError
from cloister.formats import varint
from cloister.formats.hpke_suite import KEMS, NONCE_SIZE, TAG_SIZE
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.encapsulation import (
    HEADER_SIZE,
    RESPONSE_NONCE_SIZE,
    RequestHeader,
    RequestRefused,
    UnsupportedSuite,
    recipient,
    require_key,
    response_keys,
    sender,
)
from cloister.secret import SecretBytes

REQUEST_MEDIA_TYPE: Final = "message/ohttp-chunked-req"
RESPONSE_MEDIA_TYPE: Final = "message/ohttp-chunked-res"
MAXIMUM_CHUNK: Final = 65_536  # bytes inside one; the draft has receivers take 16,384 at least

_REQUEST_LABEL: Final = b"message/bhttp chunked request"
_RESPONSE_LABEL: Final = b"message/bhttp chunked response"
_FINAL: Final = b"final"

Bytes = bytes | bytearray | memoryview


class Truncated(MalformedInput):
    """The message ended before its final chunk. Nothing may take what came for a whole message."""

    retry: ClassVar[bool] = True  # whoever carried it broke off, or cut it


class ChunkRefused(OpenFailed):
    """A chunk was altered, dropped, repeated, moved, continued, or is empty without being the final one."""


class _Opens(Protocol):
    def open(self, aad: bytes, ciphertext: Bytes) -> bytes: ...


class _Seals(Protocol):
    def seal(self, aad: bytes, plaintext: Bytes) -> bytes: ...


def encapsulate(config: KeyConfig) -> tuple[RequestSealer, ResponseOpener]:
    """What seals one request to the gateway's key, chunk by chunk, and what opens its one answer.

    Raises:
        UnsupportedSuite: the configuration does not offer HKDF-SHA256 with AES-128-GCM.
        MalformedInput: its public key is not usable.
    """
    head, context = sender(config, _REQUEST_LABEL)
    return RequestSealer(head, context), ResponseOpener(head[HEADER_SIZE:], _response_secret(context))


def head_size(header: RequestHeader) -> int:
    """The bytes of a request's head, with the encapsulated key: what `open_request` is given.

    Raises:
        UnsupportedSuite: the KEM is not one of ours.
    """
    sizes = KEMS.get(header.kem)
    if sizes is None:
        raise UnsupportedSuite(f"KEM 0x{header.kem:04x} is not supported")
    return HEADER_SIZE + sizes.enc


def open_request(key: KemPrivateKey, key_id: int, head: bytes, *, nonce: bytes) -> tuple[RequestOpener, ResponseSealer]:
    """What opens the chunks behind `head` with the gateway's key of that id, and what seals the one answer to it.

    Args:
        key: the gateway's.
        key_id: its id.
        head: `head_size` bytes; those after the header are what a replay table remembers.
        nonce: 16 random bytes, never used before: the answer's.

    Raises:
        MalformedInput: the head has another length.
        UnknownKey, UnsupportedSuite: the header names another key, or algorithms that it does not take.
        RequestRefused: the encapsulated key is a low-order point.
        UsageError: the nonce has another length.
    """
    require_key(key, key_id, head)
    if len(head) != HEADER_SIZE + KEMS[key.kem].enc:
        raise MalformedInput(
            f"the head of a request of KEM 0x{key.kem:04x} has {HEADER_SIZE + KEMS[key.kem].enc} bytes"
        )
    try:
        context = recipient(key, head, _REQUEST_LABEL)
    except OpenFailed as error:
        raise RequestRefused(f"the request does not open with key {key_id}") from error
    return RequestOpener(context), ResponseSealer(head[HEADER_SIZE:], _response_secret(context), nonce=nonce)


class _Sealer:
    """Seals the chunks of one message. `head` goes before them."""

    __slots__ = ("_context", "_finished", "head")

    def __init__(self, head: bytes, context: _Seals) -> None:
        self.head = head
        self._context = context
        self._finished = False

    def seal(self, data: Bytes) -> bytes:
        """One chunk that is not the final one, framed.

        Raises:
            UsageError: `data` is empty or over `MAXIMUM_CHUNK`, or the message is finished.
        """
        if not data:
            raise UsageError("a chunk without data would be refused: only the final one may be empty")
        self._require(data)
        sealed = self._context.seal(b"", data)
        return varint.encode(len(sealed)) + sealed

    def finish(self, data: Bytes = b"") -> bytes:
        """The final chunk, framed; it may be empty. The body that carries the message ends right after it.

        Raises:
            UsageError: `data` is over `MAXIMUM_CHUNK`, or the message is finished.
        """
        self._require(data)
        self._finished = True
        return b"\x00" + self._context.seal(_FINAL, data)

    def _require(self, data: Bytes) -> None:
        if self._finished:
            raise UsageError("nothing comes after the final chunk")
        if len(data) > MAXIMUM_CHUNK:
            raise UsageError(f"a chunk holds at most {MAXIMUM_CHUNK} bytes, not {len(data)}")


class _Opener:
    """Opens the chunks of one message as their bytes arrive, split anywhere."""

    __slots__ = ("_context", "_held", "_last", "finished")

    finished: bool  # the final chunk has opened

    def __init__(self, context: _Opens | None) -> None:
        self._context = context
        self._held = bytearray()  # of a chunk that is not whole yet
        self._last = False  # what arrives belongs to the final chunk
        self.finished = False

    def feed(self, data: Bytes) -> bytes:
        """What is inside the chunks that `data` completes, the final one excepted.

        Raises:
            ChunkRefused: as it says. Nothing of the message counts after it.
            RequestRefused: (a request) the first chunk is not for this key.
            TooLarge: a chunk of more than `MAXIMUM_CHUNK` bytes.
            UsageError: the message has ended.
        """
        opened = [self._open(b"", sealed) for sealed in self._sealed(data)]
        return opened[0] if len(opened) == 1 else b"".join(opened)

    def end(self) -> bytes:
        """What is inside the final chunk; to be asked when the body that carries the message has ended.

        Raises:
            Truncated: the final chunk never came, or only a part of it too small to be one.
            ChunkRefused, RequestRefused: what came behind its mark does not open.
            UsageError: the message has ended before.
        """
        opened = self._open(_FINAL, self._final())
        self.finished = True
        return opened

    def _sealed(self, data: Bytes) -> Iterator[memoryview]:
        """The chunks that `data` completes, the final one excepted."""
        if self.finished:
            raise UsageError("nothing comes after the end of a message")
        rest = memoryview(data)
        if self._held and not self._last:
            rest = yield from self._complete(rest)
        while len(rest) and not self._last:
            start, end = _frame(rest)
            if end > len(rest):
                break
            yield from self._whole(rest[start:end])
            rest = rest[end:]
        self._held += rest
        if self._last and len(self._held) > MAXIMUM_CHUNK + TAG_SIZE:
            raise TooLarge(f"a final chunk of more than {MAXIMUM_CHUNK} bytes")

    def _final(self) -> memoryview:
        """The final chunk."""
        if self.finished:
            raise UsageError("a message ends once")
        if not self._last or len(self._held) < TAG_SIZE:
            raise Truncated("the message was cut: it ended before its final chunk")
        held, self._held = self._held, bytearray()
        return memoryview(held)

    def _complete(self, rest: memoryview) -> Generator[memoryview, None, memoryview]:
        """Complete the chunk that is held with the beginning of `rest`, as far as it reaches; what is left of it."""
        held = self._held
        start, end = _frame(held)
        while end > len(held):
            if not rest:
                return rest
            taken = end - len(held)
            held += rest[:taken]
            rest = rest[taken:]
            start, end = _frame(held)  # a length that was cut is known now
        self._held = bytearray()
        yield from self._whole(memoryview(held)[start:end])
        return rest

    def _whole(self, sealed: memoryview) -> Iterator[memoryview]:
        """A chunk that is whole; the length zero marks the final one, which is not."""
        if not sealed:
            self._last = True
            return
        if len(sealed) <= TAG_SIZE:
            # "A receiver MUST treat the receipt of a chunk that contains no data as equivalent to a decryption error"
            raise ChunkRefused("a chunk that is not the final one is empty")
        yield sealed

    def _open(self, aad: bytes, sealed: Bytes) -> bytes:
        assert self._context is not None  # a chunk is taken after the head only
        try:
            return self._context.open(aad, sealed)
        except OpenFailed as error:
            raise self._refused() from error

    def _refused(self) -> CloisterError:
        return ChunkRefused("a chunk was altered, or is not the one that follows")


@final
class RequestSealer(_Sealer):
    """The client's side of one request. `head` is the header and the encapsulated key."""

    __slots__ = ()


@final
class ResponseSealer(_Sealer):
    """The gateway's side of one answer. `head` is the response nonce."""

    __slots__ = ()

    def __init__(self, enc: bytes, secret: SecretBytes, *, nonce: bytes) -> None:
        """`nonce` is 16 random bytes, never used before.

        Raises:
            UsageError: it has another length.
        """
        if len(nonce) != RESPONSE_NONCE_SIZE:
            raise UsageError(f"a response nonce has {RESPONSE_NONCE_SIZE} bytes, not {len(nonce)}")
        super().__init__(nonce, _ResponseContext(enc, secret, nonce))


@final
class RequestOpener(_Opener):
    """The gateway's side of one request."""

    __slots__ = ("_proved", "_recipient")

    def __init__(self, context: RecipientContext) -> None:
        super().__init__(context)
        self._recipient = context
        self._proved = False  # a chunk has opened: the key is the right one

    def feed_into(self, data: Bytes, room: memoryview) -> Iterator[memoryview]:
        """As `feed`, chunk by chunk, each in `room` in the place of the one before, so that its owner can wipe it.

        `room` has `MAXIMUM_CHUNK` bytes. What is raised comes while this is iterated, which has to be to its end.
        """
        for sealed in self._sealed(data):
            yield self._open_into(b"", sealed, room)

    def end_into(self, room: memoryview) -> memoryview:
        """As `end`, in `room`."""
        opened = self._open_into(_FINAL, self._final(), room)
        self.finished = True
        return opened

    def _open_into(self, aad: bytes, sealed: memoryview, room: memoryview) -> memoryview:
        try:
            opened = self._recipient.open_into(aad, sealed, room)
        except OpenFailed as error:
            raise self._refused() from error
        self._proved = True
        return opened

    def _open(self, aad: bytes, sealed: Bytes) -> bytes:
        opened = super()._open(aad, sealed)
        self._proved = True
        return opened

    def _refused(self) -> CloisterError:
        if self._proved:
            return super()._refused()
        return RequestRefused("the request does not open with the key that it names")


@final
class ResponseOpener(_Opener):
    """The client's side of one answer."""

    __slots__ = ("_enc", "_head", "_secret")

    def __init__(self, enc: bytes, secret: SecretBytes) -> None:
        super().__init__(None)
        self._enc = enc
        self._secret = secret
        self._head = b""

    def feed(self, data: Bytes) -> bytes:
        """As `_Opener.feed`; the response nonce comes first."""
        if self._context is None:
            missing = RESPONSE_NONCE_SIZE - len(self._head)
            self._head += bytes(data[:missing])
            data = memoryview(data)[missing:]
            if len(self._head) < RESPONSE_NONCE_SIZE:
                return b""
            self._context = _ResponseContext(self._enc, self._secret, self._head)
        return super().feed(data)


@final
class _ResponseContext:
    """The AEAD of an answer and the count of its chunks (section 6.2)."""

    __slots__ = ("_aead", "_base_nonce", "_counter")

    def __init__(self, enc: bytes, secret: SecretBytes, nonce: bytes) -> None:
        self._aead: AESGCM
        self._aead, base_nonce = response_keys(enc, secret, nonce)
        self._base_nonce = int.from_bytes(base_nonce, "big")
        self._counter = 0

    def seal(self, aad: bytes, plaintext: Bytes) -> bytes:
        sealed = self._aead.encrypt(self._nonce(), plaintext, aad)
        self._counter += 1
        return sealed

    def open(self, aad: bytes, ciphertext: Bytes) -> bytes:
        try:
            opened = self._aead.decrypt(self._nonce(), ciphertext, aad)
        except InvalidTag as error:
            raise OpenFailed("the chunk does not open") from error
        self._counter += 1
        return opened

    def _nonce(self) -> bytes:
        return (self._base_nonce ^ self._counter).to_bytes(NONCE_SIZE, "big")


def _frame(data: bytearray | memoryview) -> tuple[int, int]:
    """Where the chunk that `data` begins with starts and ends; of a length that is cut, where it would end."""
    start = 1 << (data[0] >> 6)
    if start > len(data):
        return start, start
    size, _ = varint.decode(data, 0)
    if size > MAXIMUM_CHUNK + TAG_SIZE:
        raise TooLarge(f"a chunk of {size - TAG_SIZE} bytes, the cap is {MAXIMUM_CHUNK}")
    return start, start + size


def _response_secret(context: SenderContext | RecipientContext) -> SecretBytes:
    return SecretBytes(context.export(_RESPONSE_LABEL, RESPONSE_NONCE_SIZE))
