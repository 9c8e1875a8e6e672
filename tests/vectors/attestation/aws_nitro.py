"""Recorded documents of AWS Nitro Enclaves."""

from __future__ import annotations

from typing import Final

from tests.vectors.attestation import Case, require_facts

from cloister.attest.nitro import NitroExpected, appraise_nitro, examine_nitro
from cloister.attest.roots import AWS_NITRO_ROOT_G1
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nitro_policy import NitroImage, NitroPolicy

LEAF_LIFE: Final = 3 * 3600  # seconds; the cases say no other age
_COSE_SIGN1: Final = (b"\x84", b"\xd2")  # untagged, tagged


def judge_nitro(case: Case) -> list[str]:
    """The steps that failed. What the case does not tell (image, user data, nonce) is what the document says."""
    return judge_document(document_of(case), case)


def document_of(case: Case) -> bytes:
    """The case's document."""
    return document_in(case.read(case.data["files"]["document"]))


def document_in(data: bytes) -> bytes:
    """The document, out of its recorder's record where it is in one.

    Such a record is two bytes, the document's length in SCALE's compact form (two bytes here), the document, and what
    the recorder says of the machine, which nothing measured and nothing here reads.
    """
    if data.startswith(_COSE_SIGN1):
        return data
    size = int.from_bytes(data[2:4], "little") >> 2
    return data[4 : 4 + size]


def judge_document(data: bytes, case: Case) -> list[str]:
    """The steps that failed for one document at the case's moment."""
    examination = examine_nitro(parse_nitro_document(data), roots=[AWS_NITRO_ROOT_G1], at=case.at)
    if examination.failed:
        return examination.failed
    nitro = examination.require()
    told = {
        "module_id": nitro.module_id,
        "timestamp": nitro.timestamp,
        "pcrs": {str(index): value.hex() for index, value in nitro.pcrs.items()},
        "user_data": None if nitro.user_data is None else nitro.user_data.hex(),
        "nonce": None if nitro.nonce is None else nitro.nonce.hex(),
        "public_key": None if nitro.public_key is None else nitro.public_key.hex(),
    } | {f"pcr{index}": value.hex() for index, value in nitro.pcrs.items()}
    require_facts(case, told)
    pcr0, pcr1, pcr2 = (nitro.pcrs.get(index, bytes(48)) for index in range(3))
    image = NitroImage(pcr0=pcr0, pcr1=pcr1, pcr2=pcr2)
    policy = NitroPolicy(
        images=(image,), pcrs={}, maximum_age_seconds=LEAF_LIFE, maximum_ahead_seconds=5, expressions=()
    )
    expected = NitroExpected(nitro.user_data, nitro.nonce, nitro.public_key)
    return appraise_nitro(nitro, policy, expected, at=case.at).failed


def meaning(_: str, data: bytes) -> object:
    """What of a file is judged: the document."""
    return document_in(data)


KINDS = {"nitro": judge_nitro}
MEANING = meaning
REASONS = (
    (r"(?i)certificate[^,;]*(lives|expired|not (yet )?valid|out of date)", "nitro.chain"),
    (r"(?i)(chain|cabundle|root)[^,;]*(not|wrong|another|unknown|swapped)", "nitro.chain"),
    (r"(?i)signature[^,;]*(not|wrong|bad|altered|does not)", "nitro.signature"),
    (r"(?i)debug|zero.*PCR|PCR.*zero", "nitro.debug"),
)
