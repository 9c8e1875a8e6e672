import base64
import json
from pathlib import Path

import pytest

from cloister.crypto.merkle import (
    EMPTY_ROOT,
    RUN,
    BadProof,
    GrowingTree,
    check_consistency,
    check_inclusion,
    consistency_path,
    inclusion_path,
    inclusion_paths,
    leaf_hash,
    root,
    subtrees,
)

VECTORS = Path("../shared/vectors/ledger/merkle-rfc6962")
CT = json.loads(Path("tests/vectors/rfc6962-merkle.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in CT["leaves"]]


def cases(kind):
    files = sorted((VECTORS / kind).rglob("*.json"))
    return [pytest.param(file, id=str(file.relative_to(VECTORS))) for file in files] or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"{VECTORS} is not here"))
    ]


def unbase64(value):
    return base64.b64decode(value or "")


def judge(check, wanted):
    if wanted:
        with pytest.raises(BadProof):
            check()
    else:
        check()


@pytest.mark.parametrize("file", cases("inclusion"))
def test_inclusion_proofs_are_judged_as_published(file):
    case = json.loads(file.read_text())
    leaf, expected = unbase64(case["leafHash"]), unbase64(case["root"])
    path = [unbase64(node) for node in case["proof"] or ()]
    judge(lambda: check_inclusion(leaf, case["leafIdx"], case["treeSize"], path, expected), case["wantErr"])


@pytest.mark.parametrize("file", cases("consistency"))
def test_consistency_proofs_are_judged_as_published(file):
    case = json.loads(file.read_text())
    old, new = unbase64(case["root1"]), unbase64(case["root2"])
    path = [unbase64(node) for node in case["proof"] or ()]
    if case["size1"] == case["size2"] == 0 and not case["wantErr"]:
        pytest.skip("a witness handles an old size of 0 before it asks for a proof")
    judge(lambda: check_consistency(case["size1"], old, case["size2"], new, path), case["wantErr"])


def test_the_roots_are_those_of_the_certificate_transparency_test_data():
    assert EMPTY_ROOT.hex() == CT["roots"][0]
    assert [root(LEAVES[:size]).hex() for size in range(9)] == CT["roots"]


@pytest.mark.parametrize("size", range(20))
def test_a_tree_that_grew_has_every_root_of_before_and_leaves_the_one_it_grew_from_alone(size):
    leaves = [leaf_hash(bytes([number])) for number in range(20)]
    tree = GrowingTree().grown(leaves[:size])
    others = tree.grown(leaf_hash(b"another") for _ in range(3))
    grown = tree.grown(leaves[size:])
    assert (tree.size, grown.size, others.size) == (size, 20, size + 3)
    assert tree.root(size) == root(leaves[:size])
    assert [grown.root(number) for number in range(21)] == [root(leaves[:number]) for number in range(21)]
    assert others.root(size) == tree.root(size)


@pytest.mark.parametrize("size", [RUN - 1, RUN, RUN + 1, 2 * RUN, 5 * RUN + 3])
def test_a_tree_of_several_runs_has_the_roots_and_paths_of_any_other(size):
    leaves = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    before = GrowingTree().grown(leaves[: size - 5])
    tree, subtree = before.grown(leaves[size - 5 :]), subtrees(leaves)
    before.append(leaf_hash(b"another"))
    assert (before.size, tree.size) == (size - 4, size)
    for smaller in (size, size - 1, size - 4, size // 2, RUN - 2):
        assert tree.root(smaller) == root(leaves[:smaller])
        assert consistency_path(smaller, size, tree.subtree) == consistency_path(smaller, size, subtree)
    for index in (0, RUN - 2, size // 2, size - 1):
        assert inclusion_path(index, size, tree.subtree) == inclusion_path(index, size, subtree)


@pytest.mark.parametrize("size", range(1, 21))
def test_every_path_made_is_accepted_and_no_changed_one_is(size):
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    subtree, expected = subtrees(leaves), root(leaves)
    for index in range(size):
        path = inclusion_path(index, size, subtree)
        check_inclusion(leaves[index], index, size, path, expected)
        for wrong in ([*path, bytes(32)], path[:-1], [bytes(32), *path[1:]]):
            if tuple(wrong) != path:
                with pytest.raises(BadProof):
                    check_inclusion(leaves[index], index, size, wrong, expected)
    for old in range(1, size + 1):
        path = consistency_path(old, size, subtree)
        check_consistency(old, root(leaves[:old]), size, expected, path)
        for wrong in ([*path, bytes(32)], path[:-1], [bytes(32), *path[1:]]):
            if tuple(wrong) != path:
                with pytest.raises(BadProof):
                    check_consistency(old, root(leaves[:old]), size, expected, wrong)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 20])
def test_many_paths_made_together_are_those_made_one_by_one(size):
    subtree = subtrees([leaf_hash(bytes([number])) for number in range(size)])
    for asked in (range(size), [size - 1], [0, size - 1, 0], range(size // 2, size, 3), []):
        assert inclusion_paths(asked, size, subtree) == {at: inclusion_path(at, size, subtree) for at in asked}
    for wrong in ([0, size], [-1]):
        with pytest.raises(ValueError, match="no leaves"):
            inclusion_paths(wrong, size, subtree)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3)])
def test_no_consistency_from_nothing_or_from_the_future(old, new):
    with pytest.raises(BadProof):
        check_consistency(old, EMPTY_ROOT, new, root(LEAVES[:3]), [])
    with pytest.raises(ValueError, match="no consistency"):
        consistency_path(old, new, subtrees(LEAVES))


@pytest.mark.parametrize("index", [-1, 8])
def test_no_path_to_a_leaf_that_is_not_there(index):
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(index, 8, subtrees(LEAVES))
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[0], index, 8, [], root(LEAVES))
