"""COSE receipts and the statements that they are about: RFC 9942's examples, scitt-cose's vectors, a CCF ledger's.

Receipts over RFC 9162 trees and statements are read by the code that users run. Those of CCF ledgers (vds 2) are of no
log of ours, so their reader is here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.vectors.ledger import Case, NotJudged, Wrong, verdict

from cloister.crypto.merkle import BadProof, leaf_hash
from cloister.crypto.signing import BadSignature
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import CloisterError, MalformedInput
from cloister.formats.cose_receipt import INCLUSION, VDP, VDS, parse_receipt
from cloister.formats.cose_sign1 import sig_structure
from cloister.formats.foreign_cose import ForeignSign1, decode_foreign, is_number, parse_foreign_sign1
from cloister.ledger.receipts import verify_inclusion

CCF, RECEIPTS = 2, 394
LIMIT = 1024 * 1024  # bytes of a statement with its certificates


def examples(folder: Path) -> Iterator[Case]:
    """Each .cbor file is a receipt, with its diagnostic notation beside it; no key was published."""
    for path in sorted(folder.glob("*.cbor")):
        yield Case(path.stem, partial(_example, path))


def receipts(folder: Path) -> Iterator[Case]:
    """Each folder is a case: a key, one receipt or several, perhaps a statement, and what is expected."""
    for expected in sorted(folder.glob("*/expected.json")):
        for path in sorted(expected.parent.glob("receipt*.cose")):
            yield Case(f"{expected.parent.name}/{path.name}", partial(_receipt, path, expected))
        if (expected.parent / "statement.cose").exists():
            yield Case(f"{expected.parent.name}/statement.cose", partial(_statement, expected))


def transparent_statements(folder: Path) -> Iterator[Case]:
    """Each .cose file is a statement that carries receipts; the services' certificates lie in .json files beside it."""
    for path in sorted(folder.glob("*.cose")):
        yield Case(path.name, partial(_transparent, path))


def _example(path: Path) -> str:
    data, notation = path.read_bytes(), path.with_suffix(".diag").read_text(encoding="utf-8")
    dumped = re.search(r"## Hex\s+```\s+([0-9a-f\s]+)```", notation)
    if dumped is None or bytes.fromhex(dumped[1]) != data:
        raise Wrong("the file is not the one that its notation is of")
    receipt = parse_receipt(data)
    sizes = [int(size) for size in re.findall(r"/ (?:size|leaf|old_size|new_size) / (\d+)", notation)]
    read = [[one.size, one.index] for one in receipt.inclusion] + [[one.old, one.new] for one in receipt.consistency]
    if read != [sizes]:
        raise Wrong(f"read as {read}, and is {sizes}")
    return "read as its notation has it; its signature is not judged: the key was not published"


def _receipt(path: Path, expected_path: Path) -> str:
    expected = json.loads(expected_path.read_text(encoding="utf-8"))
    accept = bool(expected.get("receipt_valid", expected.get("ok")))
    entry = bytes.fromhex(expected.get("leaf_entry", expected.get("leaf_entry_hex")))
    pem = (expected_path.parent / "log-key.pub").read_bytes()
    return verdict(lambda: _held(path.read_bytes(), entry, pem, expected), CloisterError, accept=accept)


def _held(data: bytes, entry: bytes, pem: bytes, expected: dict[str, Any]) -> None:
    message, key = parse_foreign_sign1(data, limit=LIMIT), VerificationKey.parse_pem(pem)
    root = expected.get("root", expected.get("reconstructed_root"))
    if is_number(message.header.get(VDS), CCF):
        found = _ccf_root(message, entry)
        key.check(message.algorithm, message.signature, sig_structure(message.protected, found))
        _same(root, found.hex())
        return
    included = verify_inclusion(data, leaf=leaf_hash(entry), log_key=key)
    _same((root, expected["tree_size"], expected["leaf_index"]), (included.root.hex(), included.size, included.index))


def _same(expected: object, found: object) -> None:
    if expected != found:
        raise Wrong(f"read as {found}, and is {expected}")


def _statement(expected_path: Path) -> str:
    folder, expected = expected_path.parent, json.loads(expected_path.read_text(encoding="utf-8"))
    message = parse_foreign_sign1((folder / "statement.cose").read_bytes(), limit=LIMIT)
    payload = (folder / "payload.bin").read_bytes()
    _same(expected["payload_sha256"], hashlib.sha256(payload).hexdigest())
    told = expected["protected_header"]["statement"]
    read = {"issuer": message.claim(1), "subject": message.claim(2), "alg_code": message.algorithm}
    _same({name: told[name] for name in read}, read)
    if message.payload not in (None, payload):
        raise Wrong("its payload is another")
    key = VerificationKey.parse_pem((folder / "issuer-key.pub").read_bytes())
    signed = sig_structure(message.protected, payload)
    accept = bool(expected["statement_signature_valid"])
    return verdict(lambda: key.check(message.algorithm, message.signature, signed), BadSignature, accept=accept)


def _transparent(path: Path) -> str:
    tag = cbor2.loads(path.read_bytes())
    protected, unprotected, payload, signature = tag.value
    found = [_ccf(one) for one in unprotected.get(RECEIPTS, ())]
    held = [one for one in found if one is not None]
    if not held:
        raise NotJudged("its receipt is older than CCF's profile of RFC 9942; the statement itself is PS256, x5chain")
    services = _services(path.parent)
    if not services:
        raise NotJudged("no certificate of a ledger's service is here")
    statement = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]), canonical=True)
    for receipt in held:
        signed = sig_structure(receipt.protected, _ccf_root(receipt, hashlib.sha256(statement).digest()))
        if not any(_signed(key, receipt, signed) for key in services):
            raise Wrong("no service whose certificate is here signed the receipt's root")
    return "its receipt leads from it to a root that the service signed; its own x5chain is not judged"


def _ccf(receipt: object) -> ForeignSign1 | None:
    try:
        data = receipt if isinstance(receipt, bytes) else cbor2.dumps(receipt)
        message = parse_foreign_sign1(data, limit=LIMIT)
    except (MalformedInput, cbor2.CBOREncodeError):
        return None
    return message if is_number(message.header.get(VDS), CCF) else None


def _signed(key: VerificationKey, receipt: ForeignSign1, signed: bytes) -> bool:
    try:
        key.check(receipt.algorithm, receipt.signature, signed)
    except BadSignature:
        return False
    return True


def _services(folder: Path) -> list[VerificationKey]:
    found = []
    for path in sorted(folder.glob("*.json")):
        for one in json.loads(path.read_text(encoding="utf-8")).get("parameters", []):
            certificate = x509.load_der_x509_certificate(base64.b64decode(one["serviceCertificate"]))
            pem = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            found.append(VerificationKey.parse_pem(pem))
    return found


def _ccf_root(message: ForeignSign1, digest: bytes) -> bytes:
    """The root that all of a receipt's inclusion proofs lead to from `digest`, which is in each leaf.

    Source: draft-ietf-scitt-receipts-ccf-profile: a leaf is SHA-256(transaction ‖ SHA-256(evidence) ‖ digest), a step
    of the path a hash and whether it stands to the left.
    """
    proofs = message.unprotected.get(VDP, {}) if hasattr(message.unprotected, "get") else {}
    roots = {_led_to(decode_foreign(proof), digest) for proof in proofs.get(INCLUSION, ())}
    if message.payload is not None or len(roots) != 1:
        raise MalformedInput("a receipt has a detached root that all of its proofs lead to")
    return roots.pop()


def _led_to(proof: Any, digest: bytes) -> bytes:
    try:
        (transaction, evidence, data), path = proof[1], proof[2]
        evidence_digest = hashlib.sha256(evidence.encode()).digest()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedInput("not a proof of CCF's profile") from error
    if data != digest:
        raise BadProof("the proof is of another leaf")
    found = hashlib.sha256(_hash(transaction) + evidence_digest + _hash(data)).digest()
    for left, node in _steps(path):
        found = hashlib.sha256(node + found if left else found + node).digest()
    return found


def _steps(path: Sequence[Sequence[Any]]) -> Iterator[tuple[bool, bytes]]:
    for step in path:
        if len(step) != 2 or not isinstance(step[0], bool):
            raise MalformedInput("a step of a path is a side and a hash")
        yield step[0], _hash(step[1])


def _hash(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise MalformedInput("a hash has 32 bytes")
    return value


SETS = {
    "cose-receipts/ietf-examples": examples,
    "cose-receipts/scitt-cose-v1": receipts,
    "cose-receipts/scitt-cose-receipt-v1": receipts,
    "cose-receipts/scitt-ccf": transparent_statements,
}
