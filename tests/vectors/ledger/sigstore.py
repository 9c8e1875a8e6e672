"""Sigstore's bundles: of each the proof that it is in its log is read, which is all that Cloister has a format for.

A bundle whose inclusion proof, or the checkpoint over it, is refused is to be refused. One whose proof holds is not
judged: Fulcio's certificates, Rekor's entries and RFC 3161 time stamps have no format of ours.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.vectors.ledger import Case, NotJudged, Wrong

from cloister.crypto.merkle import BadProof, check_inclusion, leaf_hash
from cloister.errors import CloisterError, MalformedInput
from cloister.formats.checkpoint import parse_checkpoint, parse_note

OLDEST = "application/vnd.dev.sigstore.bundle+json;version=0.1"  # the one form that may have a promise alone


def bundles(folder: Path) -> Iterator[Case]:
    """Each folder is a case with a bundle; those whose name ends with _fail are to be refused."""
    for path in sorted(folder.glob("*/bundle.sigstore.json")):
        yield Case(path.parent.name, partial(_bundle, path))


def _bundle(path: Path) -> str:
    case = path.parent
    try:
        _require_logged_all(path.read_bytes())
    except CloisterError as error:
        if not case.name.endswith("_fail"):
            raise Wrong(f"its proof is refused, and is to be accepted: {error}") from error
        return f"refused by its proof: {error}"
    if not (case / "trusted_root.ref").exists():
        raise NotJudged("its trust root, Sigstore's public-good one, is not here")
    raise NotJudged("no format of ours has Fulcio's certificates, Rekor's entries and RFC 3161 time stamps")


def _require_logged_all(data: bytes) -> None:
    try:
        bundle = json.loads(data)
        for entry in bundle["verificationMaterial"].get("tlogEntries", []):
            _require_logged(entry, promised=bundle["mediaType"] == OLDEST)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedInput(f"not a bundle: {type(error).__name__}") from error


def _require_logged(entry: dict[str, Any], *, promised: bool) -> None:
    proof = entry.get("inclusionProof")
    if proof is None and promised:
        return
    if proof is None:
        raise BadProof("there is no inclusion proof")
    root = base64.b64decode(proof["rootHash"])
    leaf = leaf_hash(base64.b64decode(entry["canonicalizedBody"]))
    path = [base64.b64decode(node) for node in proof.get("hashes", [])]
    check_inclusion(leaf, int(proof.get("logIndex", 0)), int(proof["treeSize"]), path, root)
    if "checkpoint" not in proof:
        raise MalformedInput("there is no checkpoint over the proof")
    head = parse_checkpoint(parse_note(proof["checkpoint"]["envelope"].encode()).text)
    if (head.size, head.root) != (int(proof["treeSize"]), root):
        raise BadProof("the checkpoint is of another tree than the proof")


SETS = {"sigstore-bundles": bundles}
