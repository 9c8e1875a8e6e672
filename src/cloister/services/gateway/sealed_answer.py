"""An answer as one encapsulated message (RFC 9458 section 4.4): laid out, padded, and sealed where it lies."""

from __future__ import annotations

import secrets
from typing import Final

from cloister.formats import varint
from cloister.formats.binary_http import Fields
from cloister.formats.hpke_suite import TAG_SIZE
from cloister.hosting.http_inbound import InboundConnection
from cloister.ohttp.encapsulation import RESPONSE_MEDIA_TYPE, RESPONSE_NONCE_SIZE, ResponseSealer
from cloister.ohttp.padding import padded_answer_length
from cloister.services.gateway.inside import Answer, answer_head

SEALED: Final = b"content-type: %b\r\ncache-control: no-store\r\n" % RESPONSE_MEDIA_TYPE.encode()


def sealed_message(
    connection: InboundConnection, sealer: ResponseSealer, answer: Answer, receipt: Fields, body: memoryview
) -> bytearray:
    """The whole HTTP message. The ciphertext takes the plaintext's place, so nothing is left to wipe."""
    size = len(body)
    inner = answer_head(answer.status, answer.fields, receipt) + varint.encode(size)
    used = len(inner) + size + 1  # the one is an empty section of trailers, a zero like padding
    padded = padded_answer_length(used)
    nonce = secrets.token_bytes(RESPONSE_NONCE_SIZE)
    head = connection.head(200, SEALED, length=RESPONSE_NONCE_SIZE + padded + TAG_SIZE)
    message = bytearray().join((head, nonce, inner, body, bytes(padded - used + 1 + TAG_SIZE)))
    sealer.seal_in_place(memoryview(message)[len(head) :], nonce=nonce)
    return message
