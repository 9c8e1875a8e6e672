"""NVIDIA's reference integrity manifests become authentic: chain, revocation and the XML signature; no I/O, no clock.

What is read is what the signature covers: the manifest is parsed from the canonical bytes that were hashed, so that a
signature over another element cannot vouch for it (signature wrapping).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from cloister.attest.certificates import ChainRefused, name_of, parse_certificate, serial_number_of
from cloister.attest.nvidia.chain import NvidiaTerms, check_revocation, check_signer
from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.nvidia_rim import RimFile, RimManifest, parse_manifest, parse_rim_file

RIM_STEPS: Final = ("rim.form", "rim.chain", "rim.revocation", "rim.signature", "rim.content")


class RimRefused(Refused):
    """A reference integrity manifest failed a check."""


class RimSignatureWrong(CloisterError):
    """The XML signature does not hold."""

    exit_code = 3
    status = 403


@dataclass(frozen=True, slots=True)
class AuthenticRim:
    """What NVIDIA signed. Whether it is for this device is the appraisal's word."""

    manifest: RimManifest
    kind: Literal["gpu", "switch"]


def examine_nvidia_rim(data: bytes, terms: NvidiaTerms) -> Examination[AuthenticRim]:
    """Examine one RIM, with NVIDIA's root of RIMs, and OCSP answers for its signer and those above it."""
    steps = Steps(RIM_STEPS, RimRefused)
    # 1. One profile of XML and of XML Signature; what would need more is refused.
    read = steps.attempt("rim.form", lambda: _read_seen(data), MalformedInput, TooLarge, found="a RIM")
    if read is None:
        return steps.stopped()
    file, chain = read
    # 2. The signer's chain ends in NVIDIA's root of RIMs.
    found = name_of(chain[0])
    led = steps.attempt(
        "rim.chain", lambda: check_signer(chain, roots=terms.manifests, terms=terms), ChainRefused, found=found
    )
    if led is None:  # and no work is done on a document that anybody may have written
        return steps.stopped()
    # 3. None of it was revoked; who is no authority's has nobody to ask.
    check_revocation(steps, "rim.revocation", chain, terms, whole=True)
    # 4. XML Signature 1.1, section 3.2: the digest of the document, then the signature over SignedInfo.
    signed = steps.attempt(
        "rim.signature",
        lambda: _signed(file, chain[0]),
        RimSignatureWrong,
        ChainRefused,
        found=f"by {name_of(chain[0])}",
    )
    if signed is None:
        return steps.stopped()
    # 5. TCG RIM information model: what was signed, and nothing else, is read.
    rim = steps.attempt("rim.content", lambda: _manifest(signed), MalformedInput, TooLarge, found="measurements")
    if rim is None:
        return steps.stopped()
    manifest, kind = rim
    return steps.examined(lambda: AuthenticRim(manifest, kind))


def _read(data: bytes) -> tuple[RimFile, tuple[x509.Certificate, ...]]:
    file = parse_rim_file(data)
    return file, tuple(parse_certificate(one) for one in file.certificates)


_read_seen: Final = lru_cache(maxsize=16)(_read)


def _signed(file: RimFile, signer: x509.Certificate) -> bytes:
    """The canonical bytes that the signature covers."""
    if serial_number_of(signer) <= 0:  # the library would say so in a warning of its own
        raise ChainRefused(f"{name_of(signer)} has a serial number that no certificate may have")
    found = _covered_seen(file, signer)
    if isinstance(found, str):
        raise RimSignatureWrong(found)
    return found


def _covered(file: RimFile, signer: x509.Certificate) -> bytes | str:
    """What the signature covers; or why it does not hold."""
    # The signer's time is its chain's step: the library is given a moment at which it holds, and no clock.
    expected = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset([SignatureMethod.ECDSA_SHA384]),
        digest_algorithms=frozenset([DigestAlgorithm.SHA384]),
        verification_time=signer.not_valid_before_utc,
    )
    try:
        # Its schemas are files, and the profile is narrower than they are.
        result = XMLVerifier().verify(file.document, x509_cert=signer, validate_schema=False, expect_config=expected)
    except (SignXMLException, etree.LxmlError, ValueError, TypeError) as error:
        return f"the RIM was changed since it was signed, or another key signed it: {error}"
    if not isinstance(result, VerifyResult):
        return "the RIM's signature covers more than one thing"
    return result.signed_data


# One manifest vouches for every GPU of its version, and what came along is tried for each of them: what its signature
# covers, or that it does not hold, is found out once for the same file and signer. The signer's chain, dates and
# revocation are looked at each time.
_covered_seen: Final = lru_cache(maxsize=16)(_covered)


def _manifest(signed: bytes) -> tuple[RimManifest, Literal["gpu", "switch"]]:
    manifest = parse_manifest(signed)
    kinds: dict[str, Literal["gpu", "switch"]] = {"GPU": "gpu", "SWITCH": "switch"}
    kind = kinds.get(manifest.edition)
    if kind is None or not manifest.measurements:
        raise MalformedInput("the RIM is of neither a GPU nor a switch, or it has no active measurement")
    return manifest, kind
