"""What X.509 certificates say that travel with evidence: for whom, by whom, from when to when."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cryptography import x509

from cloister.attest.certificates import MALFORMED, fingerprint, name_of, parse_certificates
from cloister.attest.snp.endorsement_key import read_endorsement_key
from cloister.cli.explained.page import Field, Page, Part, Raw, fields
from cloister.errors import MalformedInput, TooLarge

_SAYS: Final = {
    "subject": "Whose key the certificate is for.",
    "issuer": "Who signed it, by its own words.",
    "not_before": "It holds from this moment.",
    "not_after": "It holds until this moment.",
    "public_key_sha256": "SHA-256 of its public key (SubjectPublicKeyInfo): what roots are pinned by.",
}
_AMD: Final = {
    "kind": "VCEK: one chip's own key; VLEK: leased to a cloud for all of its chips.",
    "product": "The line of processors.",
    "tcb": "The key is derived from this TCB: it signs reports whose REPORTED_TCB is the same.",
    "chip_id": "The chip whose key it is, as reports carry it; a VLEK is no chip's.",
    "csp_id": "The cloud that a VLEK was leased to.",
}


def explain_certificates(data: bytes) -> Page:
    """Certificates in DER or PEM, by themselves.

    Raises:
        TooLarge, MalformedInput: not certificates.
    """
    part = certificates_part(data, name="certificates")
    return Page(format="certificates", title="X.509 certificates", parts=(part,))


def certificates_part(data: bytes, *, name: str) -> Part:
    """A chain in DER or PEM, in its order.

    Raises:
        TooLarge, MalformedInput: not certificates.
    """
    chain = parse_certificates(data)
    told = tuple(
        one for at, found in enumerate(chain) for one in (*_certificate(found, f"{at}."), *_amd(found, f"{at}."))
    )
    title = "Certificates" if len(chain) > 1 else f"Certificate of {name_of(chain[0])}"
    return Part(name=name, title=title, signed_by="the issuer of each, if the chain holds", fields=told)


def chain_part(data: bytes, *, name: str) -> Part:
    """The same, or, where they are none, a part that says so: a report is worth reading with a broken chain too."""
    try:
        return certificates_part(data, name=name)
    except (MalformedInput, TooLarge) as error:
        found: dict[str, Raw] = {"malformed": str(error), "size": len(data)}
        says = {"malformed": "What is wrong with them.", "size": "Their bytes."}
        return Part(name=name, title="Certificates that cannot be read", signed_by=None, fields=fields(found, says))


def _certificate(certificate: x509.Certificate, prefix: str) -> tuple[Field, ...]:
    try:
        key = fingerprint(certificate)
    except (*MALFORMED, MalformedInput):
        key = None
    found: dict[str, Raw] = {
        "subject": name_of(certificate),
        "issuer": _common_name(certificate.issuer),
        "not_before": _moment(certificate.not_valid_before_utc),
        "not_after": _moment(certificate.not_valid_after_utc),
        "public_key_sha256": key,
    }
    return fields(found, _SAYS, prefix=prefix)


def _amd(certificate: x509.Certificate, prefix: str) -> tuple[Field, ...]:
    """What AMD writes into the certificate of a VCEK or VLEK; nothing in others."""
    try:
        key = read_endorsement_key(certificate)
    except MalformedInput:
        return ()
    tcb = ", ".join(f"{name} {level}" for name, level in key.tcb.levels().items())
    found: dict[str, Raw] = {"kind": key.kind.name, "product": str(key.product), "tcb": tcb}
    return fields(found | {"chip_id": key.chip_id, "csp_id": key.csp_id}, _AMD, prefix=prefix)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
