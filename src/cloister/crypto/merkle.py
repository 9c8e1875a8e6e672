"""Merkle trees over SHA-256 (RFC 6962 section 2.1, RFC 9162 section 2.1): roots, and proofs made and checked."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from cloister.errors import CloisterError

EMPTY_ROOT = hashlib.sha256(b"").digest()


class BadProof(CloisterError):
    """A Merkle proof does not show what it should."""

    exit_code = 3
    status = 422


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


Subtree = Callable[[int, int], bytes]  # the root over leaves start (included) to end (excluded)


def subtrees(leaves: Sequence[bytes]) -> Subtree:
    """Roots over ranges of `leaves` (leaf hashes), each computed once."""
    known: dict[tuple[int, int], bytes] = {}

    def root(start: int, end: int) -> bytes:
        if end - start == 1:
            return leaves[start]
        if (start, end) not in known:
            middle = start + _split(end - start)
            known[start, end] = node_hash(root(start, middle), root(middle, end))
        return known[start, end]

    return root


RUN = 256  # hashes: what is complete of a level is kept in runs that never change, and that trees share


class GrowingTree:
    """The hashes of a log's tree in memory, about 64 bytes a leaf: each complete subtree computed once."""

    def __init__(self) -> None:
        self._runs: list[list[bytes]] = []  # level n: roots of complete subtrees of 2^n leaves, in runs of 256
        self._ends: list[bytearray] = []  # and those after the last whole run

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._runs[0]) * RUN + len(self._ends[0]) // 32 if self._ends else 0

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash, 32 bytes, at the end."""
        digest, level = leaf, 0
        while True:
            if level == len(self._ends):
                self._runs.append([])
                self._ends.append(bytearray())
            end = self._ends[level]
            end += digest
            if len(end) % 64:
                return
            digest = node_hash(bytes(end[-64:-32]), bytes(end[-32:]))
            if len(end) == RUN * 32:
                # In this order, and `end` left as it is: another thread may be looking a hash up.
                self._runs[level].append(bytes(end))
                self._ends[level] = bytearray()
            level += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes at the end."""
        for leaf in leaves:
            self.append(leaf)

    def grown(self, leaves: Iterable[bytes]) -> GrowingTree:
        """Another tree, of these leaves and then `leaves`; this one stays as it is, and no hash is made again."""
        tree = GrowingTree()
        tree._runs = [runs.copy() for runs in self._runs]
        tree._ends = [end.copy() for end in self._ends]
        tree.extend(leaves)
        return tree

    def subtree(self, start: int, end: int) -> bytes:
        """The root over leaves `start` to `end`, as RFC 6962 splits a tree: for the paths below."""
        length = end - start
        level = length.bit_length() - 1
        if length == 1 << level:
            return self._node(level, start >> level)
        middle = start + (1 << level)
        return node_hash(self.subtree(start, middle), self.subtree(middle, end))

    def _node(self, level: int, number: int) -> bytes:
        run, within = divmod(number, RUN)
        at = within * 32
        end = self._ends[level]  # before the runs: what leaves it meanwhile is in them
        runs = self._runs[level]
        return runs[run][at : at + 32] if run < len(runs) else bytes(end[at : at + 32])

    def root(self, size: int) -> bytes:
        """The root of the tree when it had `size` leaves."""
        return self.subtree(0, size) if size else EMPTY_ROOT


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves` (leaf hashes); of no leaves, SHA-256 of nothing."""
    if not leaves:
        return EMPTY_ROOT
    stack: list[tuple[int, bytes]] = []  # sizes fall from bottom to top, each a power of two
    for leaf in leaves:
        size, digest = 1, leaf
        while stack and stack[-1][0] == size:
            size, digest = size * 2, node_hash(stack.pop()[1], digest)
        stack.append((size, digest))
    digest = stack.pop()[1]
    while stack:
        digest = node_hash(stack.pop()[1], digest)
    return digest


def inclusion_path(index: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The path that shows leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1), lowest node first.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return tuple(reversed(path))


def inclusion_paths(indices: Iterable[int], size: int, subtree: Subtree) -> dict[int, tuple[bytes, ...]]:
    """As `inclusion_path`, for each of `indices`; what their paths share is computed once."""
    paths: dict[int, tuple[bytes, ...]] = {}

    def descend(start: int, end: int, inside: Sequence[int], above: tuple[bytes, ...]) -> None:
        if end - start == 1:
            paths[start] = above
            return
        middle = start + _split(end - start)
        turn = bisect_left(inside, middle)
        if turn:
            descend(start, middle, inside[:turn], (subtree(middle, end), *above))
        if turn < len(inside):
            descend(middle, end, inside[turn:], (subtree(start, middle), *above))

    asked = sorted(set(indices))
    if asked:
        if not 0 <= asked[0] <= asked[-1] < size:
            raise ValueError(f"no leaves {asked[0]} to {asked[-1]} in a tree of {size}")
        descend(0, size, asked, ())
    return paths


def consistency_path(old: int, new: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The path that shows the tree of `new` leaves to continue that of `old` (RFC 6962 section 2.1.2).

    Raises:
        ValueError: `old` is 0 or larger than `new`.
    """
    if not 0 < old <= new:
        raise ValueError(f"no consistency from {old} to {new}")
    path: list[bytes] = []
    start, end, whole = 0, new, True  # whole: the old tree begins where this subtree does, and nowhere before
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start, whole = middle, False
    if not whole:
        path.append(subtree(start, end))
    return tuple(reversed(path))


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> None:
    """Check that `leaf` (a leaf hash) stands at `index` in the tree of `size` leaves with root `expected`.

    Raises:
        BadProof: it does not, or the path has another length.
    """
    if included_root(leaf, index, size, path) != expected:
        raise BadProof(f"entry {index} is not in the log of {size} with this root")


def included_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that `path` leads to from `leaf` (a leaf hash) at `index` in a tree of `size` leaves.

    Source: RFC 9162 section 2.1.3.2.

    Raises:
        BadProof: there is no such leaf, or the path has another length.
    """
    _require_hashes(leaf, *path)
    if not 0 <= index < size:
        raise BadProof(f"no entry {index} in a log of {size}")
    at, last, digest = index, size - 1, leaf
    for node in path:
        if last == 0:
            raise BadProof("the inclusion proof is too long")
        if at & 1 or at == last:
            digest = node_hash(node, digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            digest = node_hash(digest, node)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise BadProof("the inclusion proof is too short")
    return digest


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves continues that of `old`.

    Source: RFC 9162 section 2.1.4.2.

    Raises:
        BadProof: it does not, or `old` is 0 (nothing to continue) or larger than `new`.
    """
    if not 0 < old <= new:
        raise BadProof(f"a log of {new} cannot be shown to continue one of {old}")
    if old == new:
        if path or old_root != new_root:
            raise BadProof(f"two roots, or a proof, at one size {old}")
        return
    _require_hashes(old_root, new_root, *path)
    if not path:
        raise BadProof("the consistency proof is empty")
    nodes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    shift = (old & -old).bit_length() - 1  # the old tree's last leaf has so many ones at its end
    at, last = (old - 1) >> shift, (new - 1) >> shift
    old_digest = new_digest = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise BadProof("the consistency proof is too long")
        if at & 1 or at == last:
            old_digest, new_digest = node_hash(node, old_digest), node_hash(node, new_digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new_digest = node_hash(new_digest, node)
        at, last = at >> 1, last >> 1
    if (last, old_digest, new_digest) != (0, old_root, new_root):
        raise BadProof(f"the log of {new} does not continue the one of {old}")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _require_hashes(*hashes: bytes) -> None:
    if any(len(digest) != 32 for digest in hashes):
        raise BadProof("a hash in a proof has 32 bytes")
