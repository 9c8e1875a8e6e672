"""Whether a quote was signed: by an attestation key that a quoting enclave names, whose report a platform's PCK signed.

What Intel says of that platform, that enclave and today is not asked here: a quote is held against this much before
anybody fetches collateral for it. Source: Intel TDX DCAP Quoting Library API, appendix A.3; Intel SGX ECDSA Quote
Library Reference, section 4.1.2.4 (how a quote is verified), whose steps the numbers in comments name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from cloister.attest.certificates import ChainRefused, check_chain
from cloister.attest.tdx.intel_chain import PCK_NAMES, key_of, raw_key, read_chain, verify
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.intel_quote import TEE_SGX, TEE_TDX, Quote, parse_quote
from cloister.formats.pck_certificate import EXTENSIONS_OID, PckExtensions, parse_pck_extensions
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.td_report import TdReport

Tee = Literal["TDX", "SGX"]
TEE_TYPES: dict[Tee, int] = {"TDX": TEE_TDX, "SGX": TEE_SGX}

QUOTE_STEPS = (
    "tdx.quote",
    "tdx.tee",
    "tdx.pck-chain",
    "tdx.qe-signature",
    "tdx.qe-binding",
    "tdx.signature",
)


class TdxRejected(Refused):
    """A quote of TDX or SGX did not meet what was asked of it."""


@dataclass(frozen=True, slots=True)
class AuthenticIntelQuote:
    """A quote that a genuine platform signed, at some time, under some TCB. Built only here."""

    body: TdReport | EnclaveReport
    quoting_enclave: EnclaveReport
    pck: PckExtensions
    pck_chain: tuple[x509.Certificate, ...]  # PCK certificate, its CA, the root


def examine_quote(evidence: bytes, tee: Tee, *, roots: Collection[bytes], at: int) -> Examination[AuthenticIntelQuote]:
    """Hold a quote of this TEE against the pinned `roots` at `at` (seconds since 1970)."""
    steps = Steps(QUOTE_STEPS, TdxRejected)
    # 1. A quote of a form that is known, and nothing behind it.
    quote = steps.attempt("tdx.quote", lambda: parse_quote(evidence), MalformedInput, TooLarge, found="a whole quote")
    if quote is None:
        return steps.stopped()
    # 2. Of this TEE: an enclave's report is no trust domain's.
    found = quote.header.tee_type
    of_tee = found == TEE_TYPES[tee]
    steps.check(
        "tdx.tee", of_tee, f"TEE type {found:#x} is not {tee}'s", found=f"{tee}, version {quote.header.version}"
    )
    # 3. The chain that the quote itself carries leads from a PCK certificate to a pinned root (4.1.2.4.1 to .5).
    platform = steps.attempt(
        "tdx.pck-chain", lambda: _pck_chain(quote, roots, at), ChainRefused, MalformedInput, TooLarge, found="Intel's"
    )
    if platform is not None:
        # 4. That platform's key signed the quoting enclave's report (4.1.2.4.12).
        part = quote.signature
        steps.attempt(
            "tdx.qe-signature",
            lambda: verify(key_of(platform[0][0]), part.qe_report_signature, part.qe_report, "the QE's report"),
            BadSignature,
            ChainRefused,
            found="by the PCK",
        )
    # 5. The enclave names this attestation key, whole (4.1.2.4.13).
    bound = hmac.compare_digest(quote.signature.quoting_enclave.report_data, _binding(quote))
    steps.check("tdx.qe-binding", bound, "the QE's report names another attestation key", found="key bound")
    # 6. Which signed header and body (4.1.2.4.16).
    steps.attempt(
        "tdx.signature",
        lambda: verify(raw_key(quote.signature.attestation_key), quote.signature.signature, quote.signed, "the quote"),
        BadSignature,
        found="by the attestation key",
    )
    if platform is None:
        return steps.stopped()
    chain, extensions = platform
    enclave = quote.signature.quoting_enclave
    return steps.examined(lambda: AuthenticIntelQuote(quote.body, enclave, extensions, chain))


def _pck_chain(quote: Quote, roots: Collection[bytes], at: int) -> tuple[tuple[x509.Certificate, ...], PckExtensions]:
    chain = read_chain(quote.signature.pck_chain, PCK_NAMES)
    check_chain(chain, roots=roots, at=at)
    return chain, _extensions(chain[0])


def _extensions(certificate: x509.Certificate) -> PckExtensions:
    try:
        found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSIONS_OID)).value
    except x509.ExtensionNotFound as error:
        raise ChainRefused("the PCK certificate names no platform: it has no SGX extensions") from error
    return parse_pck_extensions(found.public_bytes())


def _binding(quote: Quote) -> bytes:
    """What the QE's REPORTDATA is: SHA-256 over attestation key and authentication data, then 32 zeros."""
    part = quote.signature
    return hashlib.sha256(part.attestation_key + part.qe_authentication_data).digest() + bytes(32)
