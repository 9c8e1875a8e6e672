"""What is asked of a Nitro Security Module, and what it answers: CBOR, as AWS's nsm-api library writes it.

A request is a map from its name to its arguments, an answer a map from the same name to its result, or from `Error` to
a code's name. Source: github.com/aws/aws-nitro-enclaves-nsm-api, api/mod.rs; sizes of include/uapi/linux/nsm.h.
"""

from __future__ import annotations

from typing import Annotated, Final

import cbor2
import msgspec

from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats.canonical import require_plain_items

MAXIMUM_REQUEST: Final = 0x1000  # bytes: NSM_REQUEST_MAX_SIZE
MAXIMUM_ANSWER: Final = 0x3000  # bytes: NSM_RESPONSE_MAX_SIZE
_DEPTH: Final = 4


class NsmError(CloisterError):
    """The module says no, by the name of a code."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    document: Annotated[bytes, msgspec.Meta(min_length=1)]


class _Attestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    attestation: _Document | None = None
    error: Annotated[str, msgspec.Meta(max_length=64)] | None = None


def encode_attestation_request(*, user_data: bytes, nonce: bytes) -> bytes:
    """Asks for a document that carries both, each of at most 512 bytes, and no public key."""
    arguments = {"user_data": user_data, "nonce": nonce, "public_key": None}
    return cbor2.dumps({"Attestation": arguments})


def parse_attestation_answer(data: bytes) -> bytes:
    """The signed document in the module's answer.

    Raises:
        TooLarge, MalformedInput: it is no such answer.
        NsmError: it says no.
    """
    if len(data) > MAXIMUM_ANSWER:
        raise TooLarge(f"an answer of {len(data)} bytes, the cap is {MAXIMUM_ANSWER}")
    require_plain_items(data)
    try:
        value = cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False, max_depth=_DEPTH)
        told = msgspec.convert(value, _Attestation, strict=True, builtin_types=(bytes,))
    except (cbor2.CBORError, msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not an answer of a Nitro Security Module: {error}") from error
    if told.error is not None:
        raise NsmError(f"the Nitro Security Module says {told.error}")
    if told.attestation is None:
        raise MalformedInput("an answer of a Nitro Security Module without a document")
    return told.attestation.document
