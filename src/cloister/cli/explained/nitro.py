"""What an AWS Nitro Enclave's attestation document says.

The words are those of AWS's Nitro Enclaves user guide, "Where to get an enclave's measurements" and "Verifying the
root of trust".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.page import Field, Page, Part, fields
from cloister.formats.nitro_document import NitroDocument, parse_nitro_document

_PCRS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "the whole enclave image file; zeros in debug mode, in which the console shows what happens inside",
        1: "the kernel and the boot ramdisk",
        2: "the application, without the boot ramdisk",
        3: "the role (IAM) of the parent instance, if one was given",
        4: "the parent instance's id",
        8: "the certificate that signed the image, if one did",
        16: "with Cloister the workload, by the measured loader, which locks it",
    }
)
_SAYS: Final = MappingProxyType(
    {
        "module_id": "module_id: the Nitro Security Module that signs: the instance, and the enclave behind `-enc`.",
        "timestamp": "timestamp: when the document was made, by AWS's clock.",
        "digest": "digest: the hash of the PCRs.",
        "user_data": "user_data: up to 512 bytes that the enclave gave.",
        "nonce": "nonce: up to 512 bytes that the enclave gave, as whoever asked wants them: the challenge.",
        "public_key": "public_key: a key that the enclave gave, for others to encrypt to.",
    }
)


def explain_nitro_document(data: bytes) -> Page:
    """A signed document.

    Raises:
        TooLarge, MalformedInput: not such a document.
    """
    document = parse_nitro_document(data).document
    signed = Part(
        name="document",
        title="What the Nitro Security Module says",
        signed_by="the key of the document's certificate, if the signature holds",
        fields=(*_first(document), *_pcrs(document)),
    )
    chain = chain_part(document.certificate, name="certificate")
    bundle = tuple(chain_part(one, name=f"cabundle.{at}") for at, one in enumerate(document.cabundle))
    title = "AWS Nitro Enclaves attestation document"
    return Page(format="nitro-document", title=title, parts=(signed, chain, *bundle))


def _first(document: NitroDocument) -> tuple[Field, ...]:
    when = datetime.fromtimestamp(document.timestamp // 1000, UTC) if document.timestamp < _YEAR_10000 else None
    told = {
        "module_id": document.module_id,
        "timestamp": str(document.timestamp) if when is None else when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "digest": document.digest,
        "user_data": document.user_data,
        "nonce": document.nonce,
        "public_key": document.public_key,
    }
    return fields(told, _SAYS)


_YEAR_10000: Final = 253_402_300_800_000  # in milliseconds since 1970


def _pcrs(document: NitroDocument) -> tuple[Field, ...]:
    return tuple(
        Field(name=f"pcr.{index}", value=value.hex(), says=f"PCR{index}: {_PCRS.get(index, 'free for the enclave')}.")
        for index, value in sorted(document.pcrs.items())
    )
