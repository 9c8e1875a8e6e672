"""The attestation document of an AWS Nitro Enclave, as its Nitro Security Module signs it.

A COSE_Sign1 (RFC 9052 section 4.2), with its tag or, as the module gives it, without: ES384, a protected header that
holds exactly the algorithm, an empty unprotected one. Sizes are those of AWS's specification ("AttestationDocument",
docs.aws.amazon.com/enclaves/latest/user/verify-root.html, with the limits of its section on syntactical validation).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NoReturn

import cbor2
import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Measurement
from cloister.formats.cose_sign1 import TAG

MAXIMUM_NITRO_DOCUMENT: Final = 32 * 1024  # bytes
PROTECTED: Final = bytes.fromhex("a1013822")  # {1: -35}: alg ES384 (RFC 9053 section 2.1)
SIGNATURE_SIZE: Final = 96  # bytes: r and s of P-384
_DEPTH: Final = 4  # the document, its map of PCRs, their values

Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024)]  # DER
Index = Annotated[int, msgspec.Meta(ge=0, le=31)]


class NitroDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the module signed. Nothing in it is trusted yet."""

    module_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    timestamp: Annotated[int, msgspec.Meta(gt=0, lt=2**53)]  # milliseconds since 1970
    digest: Literal["SHA384"]  # of the PCRs
    pcrs: Annotated[dict[Index, Measurement], msgspec.Meta(min_length=1, max_length=32)]
    certificate: Certificate  # of the key that signed
    cabundle: Annotated[tuple[Certificate, ...], msgspec.Meta(min_length=1, max_length=7)]  # the root first
    public_key: Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    user_data: Annotated[bytes, msgspec.Meta(max_length=512)] | None = None
    nonce: Annotated[bytes, msgspec.Meta(max_length=512)] | None = None


@dataclass(frozen=True, slots=True)
class SignedNitroDocument:
    """A document and the signature over its bytes, which is not checked yet."""

    document: NitroDocument
    payload: bytes  # the document's bytes as signed
    signature: bytes  # 96 bytes


def parse_nitro_document(data: bytes) -> SignedNitroDocument:
    """Parse a signed document, at most 32 KiB.

    Raises:
        TooLarge, MalformedInput: not such a document.
    """
    message = canonical.plain(data, limit=MAXIMUM_NITRO_DOCUMENT)
    if isinstance(message, cbor2.CBORTag):
        if message.tag != TAG:
            raise MalformedInput(f"tagged {message.tag}, not as COSE_Sign1 ({TAG})")
        message = message.value
    if not isinstance(message, (list, tuple)) or len(message) != 4:
        raise MalformedInput("a COSE_Sign1 has four parts")
    protected, unprotected, payload, signature = message
    if protected != PROTECTED or unprotected != {}:
        raise MalformedInput("the protected header holds alg ES384 and nothing else, the unprotected one nothing")
    if not isinstance(payload, bytes) or not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZE:
        raise MalformedInput(f"a Nitro document has a payload and a signature of {SIGNATURE_SIZE} bytes")
    return SignedNitroDocument(_document(payload), payload, signature)


def _no_tag(*_: object) -> NoReturn:
    raise MalformedInput("a Nitro document holds no tags")


_NO_TAGS: Final = dict.fromkeys(  # that cbor2 would follow: shared references multiply, big integers collide as keys
    (*range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _no_tag
)


def _document(payload: bytes) -> NitroDocument:
    """The module writes a map of indefinite length, so that no encoding can be insisted on; but on one value alone."""
    stream = io.BytesIO(payload)
    try:
        decoder = cbor2.CBORDecoder(
            stream, tag_hook=_no_tag, semantic_decoders=_NO_TAGS, allow_duplicate_keys=False, max_depth=_DEPTH
        )
        value = decoder.decode()
        document = msgspec.convert(value, NitroDocument, strict=True, builtin_types=(bytes,))
    except (cbor2.CBORError, msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not a Nitro document: {error}") from error
    if stream.read(1):
        raise MalformedInput("something follows the Nitro document within its payload")
    return document
