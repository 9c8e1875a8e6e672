"""Signed and canonical documents: RFC 8785's JSON, DSSE envelopes, in-toto statements, signatures over models.

Cloister writes none of these yet, so their readers are here and not among what users run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.vectors.ledger import Case, NotJudged, Wrong, verdict

from cloister.errors import MalformedInput

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
SIGNED = {"https://model_signing/signature/v1.0", "https://model_signing/Digests/v0.1"}


def canonical_json(folder: Path) -> Iterator[Case]:
    """Each file under input/ has its canonical form under output/."""
    for path in sorted((folder / "input").glob("*.json")):
        yield Case(path.name, partial(_canonical, path, folder / "output" / path.name))


def envelopes(folder: Path) -> Iterator[Case]:
    """Each file is an envelope, its pre-authentication encoding and its key."""
    for path in sorted(folder.glob("*.json")):
        yield Case(path.stem, partial(_envelope, path))


def statements(folder: Path) -> Iterator[Case]:
    """Each file is a statement; those whose name says that the type is bad are to be refused."""
    for path in sorted(folder.glob("*.json")):
        yield Case(path.stem, partial(_statement, path))


def models(folder: Path) -> Iterator[Case]:
    """Each folder is a model's files with their signature; the keys lie in a folder beside."""
    for path in sorted(folder.glob("*/model.sig")):
        yield Case(path.parent.name, partial(_model, path.parent, folder / "keys"))


def _canonical(given: Path, wanted: Path) -> str:
    found = rfc8785.dumps(json.loads(given.read_text(encoding="utf-8")))
    if found != wanted.read_bytes():
        raise Wrong("canonicalised to other bytes")
    return f"{len(found)} bytes"


def _envelope(path: Path) -> str:
    case = json.loads(path.read_text(encoding="utf-8"))
    signed = pae(case["payloadType"], case["payload_utf8"].encode())
    if signed != case["pae_utf8"].encode():
        raise Wrong("the pre-authentication encoding is another")
    numbers = ec.EllipticCurvePublicNumbers(int(case["key"]["x_dec"]), int(case["key"]["y_dec"]), ec.SECP256R1())
    return verdict(lambda: _raw_signatures(case["envelope"], numbers.public_key()), InvalidSignature, accept=True)


def _raw_signatures(envelope: dict[str, Any], key: ec.EllipticCurvePublicKey) -> None:
    signed = pae(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    for one in envelope["signatures"]:
        raw = base64.b64decode(one["sig"])
        both = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.verify(both, signed, ec.ECDSA(hashes.SHA256()))


def pae(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is over (DSSE v1 protocol, section "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _statement(path: Path) -> str:
    document = json.loads(path.read_text(encoding="utf-8"))
    if "_type" not in document and "buildDefinition" in document:
        raise NotJudged("a bare SLSA provenance predicate, no statement: no format of ours")
    return verdict(lambda: require_statement(document), MalformedInput, accept="bad" not in path.stem)


def require_statement(document: dict[str, Any]) -> None:
    """Hold that `document` is an in-toto Statement of version 1 (attestation/spec/v1/statement.md).

    Raises:
        MalformedInput: it is none.
    """
    if document.get("_type") != STATEMENT:
        raise MalformedInput(f"a statement of another type than {STATEMENT}")
    if not isinstance(document.get("predicateType"), str) or not document["predicateType"]:
        raise MalformedInput("a statement names its predicate's type")
    subjects = document.get("subject")
    if not isinstance(subjects, list) or not subjects or not all(_digested(one) for one in subjects):
        raise MalformedInput("a statement has subjects, each with a digest")


def _digested(subject: object) -> bool:
    digests = subject.get("digest") if isinstance(subject, dict) else None
    return isinstance(digests, dict) and bool(digests) and all(isinstance(one, str) for one in digests.values())


def _model(folder: Path, keys: Path) -> str:
    bundle = json.loads((folder / "model.sig").read_text(encoding="utf-8"))
    envelope, material = bundle["dsseEnvelope"], bundle["verificationMaterial"]
    key = _model_key(material, keys)
    payload = base64.b64decode(envelope["payload"])
    if envelope["payloadType"] != IN_TOTO:
        raise Wrong(f"an envelope of {envelope['payloadType']}")
    for one in envelope["signatures"]:
        if not _holds(key, base64.b64decode(one["sig"]), payload):
            raise Wrong("the signature does not hold")
    statement = json.loads(payload)
    require_statement(statement)
    if statement["predicateType"] not in SIGNED:
        raise NotJudged(f"a predicate of {statement['predicateType']}")
    return _files(folder, statement)


def _model_key(material: dict[str, Any], keys: Path) -> ec.EllipticCurvePublicKey:
    key: object
    if "publicKey" in material:
        key = load_pem_public_key((keys / "signing-key-pub.pem").read_bytes())
    else:
        given = material["x509CertificateChain"]["certificates"]
        chain = [x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"])) for one in given]
        key = _trusted(chain, x509.load_pem_x509_certificate((keys / "ca-cert.pem").read_bytes()))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _trusted(chain: Sequence[x509.Certificate], root: x509.Certificate) -> object:
    """The key of the first certificate, once each is signed by the next and the last by the root."""
    for one, above in zip(chain, [*chain[1:], root], strict=True):
        if one != root:
            one.verify_directly_issued_by(above)
    return chain[0].public_key()


def _holds(key: ec.EllipticCurvePublicKey, signature: bytes, payload: bytes) -> bool:
    """Whether the signature is over the payload, encoded as DSSE has it or as format 0.2 had: Python's words for it."""
    by = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
    before = f"DSSEV1 {len(IN_TOTO)} {IN_TOTO} {len(payload)} {payload!r}".encode()
    for signed, digest in ((pae(IN_TOTO, payload), by), (before, hashes.SHA256())):
        try:
            key.verify(signature, signed, ec.ECDSA(digest))
        except InvalidSignature:
            continue
        return True
    return False


def _files(folder: Path, statement: dict[str, Any]) -> str:
    """Hold the files against the digests that were signed."""
    named = statement["predicate"].get("resources")
    if named is None:
        named = [{"name": one["name"], "digest": one["digest"]["sha256"]} for one in statement["subject"]]
    for one in named:
        path = folder / one["name"] if one["name"] != "." else folder / statement["subject"][0]["name"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != one["digest"]:
            raise Wrong(f"{one['name']} is not what was signed")
    return f"signed, {len(named)} files"


SETS = {
    "jcs-rfc8785": canonical_json,
    "dsse": envelopes,
    "in-toto": statements,
    "model-signing": models,
}
