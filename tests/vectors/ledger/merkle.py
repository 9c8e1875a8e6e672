"""Proofs of Merkle trees: inclusion and consistency, of whole logs and of their subtrees."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.vectors.ledger import Case, verdict

from cloister.crypto.merkle import EMPTY_ROOT, BadProof, check_consistency, check_inclusion, node_hash


def inclusion(folder: Path) -> Iterator[Case]:
    """Each file is a leaf, a tree and a path."""
    yield from _files(folder, _inclusion)


def consistency(folder: Path) -> Iterator[Case]:
    """Each file is two trees and a path."""
    yield from _files(folder, _consistency)


def subtree_inclusion(folder: Path) -> Iterator[Case]:
    """Each file is a leaf, a subtree and a path."""
    yield from _files(folder, _subtree_inclusion)


def subtree_consistency(folder: Path) -> Iterator[Case]:
    """Each file is a subtree, a tree and a path."""
    yield from _files(folder, _subtree_consistency)


def _files(folder: Path, judge: Any) -> Iterator[Case]:
    for path in sorted(folder.rglob("*.json")):
        yield Case(str(path.relative_to(folder)), partial(_judged, path, judge))


def _judged(path: Path, judge: Any) -> str:
    case = json.loads(path.read_text(encoding="utf-8"))
    return verdict(lambda: judge(case), BadProof, accept=not case["wantErr"])


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _path(case: dict[str, Any]) -> list[bytes]:
    return [_bytes(node) for node in case["proof"] or ()]


def _inclusion(case: dict[str, Any]) -> None:
    check_inclusion(_bytes(case["leafHash"]), case["leafIdx"], case["treeSize"], _path(case), _bytes(case["root"]))


def _consistency(case: dict[str, Any]) -> None:
    old, new = _bytes(case["root1"]), _bytes(case["root2"])
    check_consistency(case["size1"], old, case["size2"], new, _path(case))


def _subtree_inclusion(case: dict[str, Any]) -> None:
    start, end = case["start"], case["end"]
    _require_subtree(start, end)
    leaf, index = _bytes(case["leafHash"]), case["leafIdx"] - start
    check_inclusion(leaf, index, end - start, _path(case), _bytes(case["root"]))


def _subtree_consistency(case: dict[str, Any]) -> None:
    """Check that a subtree is in a tree.

    Source: draft-ietf-plants-merkle-tree-certs-02 section 4.4.3. Cloister signs and reads whole trees only, so this
    is not among what users run.
    """
    start, end, size, path = case["start"], case["end"], case["size"], _path(case)
    subtree, root = _bytes(case["root1"]), _bytes(case["root2"])
    if start == end:
        _require_empty(start, size, subtree, path)
        return
    _require_subtree(start, end)
    if end > size or any(len(node) != 32 for node in (subtree, root, *path)):
        raise BadProof("the subtree is not within the tree, or a hash has not 32 bytes")
    part, whole = _led_to(path, start, end, size, subtree)
    if path or (part, whole) != (subtree, root):
        raise BadProof("the subtree is not in the tree, or the proof is too long")


def _led_to(path: list[bytes], start: int, end: int, size: int, known: bytes | None) -> tuple[bytes, bytes]:
    """The hashes of leaves `start` to `end` and of all `size`, as the end of `path`, which is used up, has them.

    `known` is the first, where the proof leaves it out.
    """
    if (start, end) == (0, size):
        digest = _last(path) if known is None else known
        return digest, digest
    middle, beside = 1 << (size - 1).bit_length() - 1, _last(path)
    if end <= middle:
        part, left = _led_to(path, start, end, middle, known)
        return part, node_hash(left, beside)
    within = None if start < middle else known
    part, right = _led_to(path, max(start - middle, 0), end - middle, size - middle, within)
    return (node_hash(beside, part) if start < middle else part), node_hash(beside, right)


def _last(path: list[bytes]) -> bytes:
    if not path:
        raise BadProof("the proof is too short")
    return path.pop()


def _require_empty(start: int, size: int, subtree: bytes, path: list[bytes]) -> None:
    """Hold that there is nothing to show: an empty subtree is in every tree that reaches it."""
    if start > size or path or subtree != EMPTY_ROOT:
        raise BadProof("an empty subtree has the root of nothing and no proof")


def _require_subtree(start: int, end: int) -> None:
    """Hold that leaves `start` to `end` are a subtree: the start is a multiple of a power of two not below the size."""
    if not 0 <= start < end or start % (1 << (end - start - 1).bit_length()):
        raise BadProof(f"leaves {start} to {end} are no subtree")


SETS = {
    "merkle-rfc6962/inclusion": inclusion,
    "merkle-rfc6962/consistency": consistency,
    "merkle-rfc6962/subtreeinclusion": subtree_inclusion,
    "merkle-rfc6962/subtreeconsistency": subtree_consistency,
}
