"""What is asked of Intel's TD quote generation service (QGS), and what it answers, version 1 of its messages.

Every message stands behind its length in 4 bytes, big-endian; within it integers are little-endian: a header of 16
bytes (major and minor version, type, size, error code), then what the type has.
Source: Intel DCAP, QuoteGeneration/quote_wrapper: tdx_attest/tdx_attest.c, qgs_msg_lib/qgs_msg_lib.h.
"""

from __future__ import annotations

import struct
from typing import Final

from cloister.errors import CloisterError, MalformedInput
from cloister.formats.byte_reader import ByteReader

PREFIX_SIZE: Final = 4  # bytes
MAXIMUM_ANSWER: Final = 64 * 1024  # bytes
_HEADER: Final = struct.Struct("<HHIII")
_GET_QUOTE_REQUEST, _GET_QUOTE_ANSWER = 0, 1
_MAJOR: Final = 1


class QgsError(CloisterError):
    """The service says no, with a code."""


def encode_quote_request(td_report: bytes) -> bytes:
    """Asks for a quote of a TDREPORT, by whatever quoting enclave the service has; with its length before it."""
    body = struct.pack("<II", len(td_report), 0) + td_report
    message = _HEADER.pack(_MAJOR, 0, _GET_QUOTE_REQUEST, _HEADER.size + len(body), 0) + body
    return len(message).to_bytes(PREFIX_SIZE, "big") + message


def announced_length(prefix: bytes) -> int:
    """How long the message behind its 4 bytes is.

    Raises:
        MalformedInput: longer than 64 KiB, or shorter than a header.
    """
    length = int.from_bytes(prefix, "big")
    if not _HEADER.size <= length <= MAXIMUM_ANSWER:
        raise MalformedInput(f"a message of {length} bytes; {_HEADER.size} to {MAXIMUM_ANSWER} are read")
    return length


def parse_quote_answer(message: bytes) -> bytes:
    """The quote in an answer, without the length before it.

    Raises:
        MalformedInput: it is no such answer.
        QgsError: it says no.
    """
    read = ByteReader(message, "little")
    major, _ = read.integer(2, "major_version"), read.integer(2, "minor_version")
    kind, size, error = (read.integer(4, field) for field in ("type", "size", "error_code"))
    if major != _MAJOR or kind != _GET_QUOTE_ANSWER or size != len(message):
        raise MalformedInput(
            f"not an answer with a quote: version {major}, type {kind}, {size} of {len(message)} bytes"
        )
    if error:
        raise QgsError(f"the quote generation service says {error:#x}")
    identity, length = read.integer(4, "selected_id_size"), read.integer(4, "quote_size")
    read.take(identity, "the selected id")
    quote = read.take(length, "the quote")
    read.end("the quote")
    return quote
