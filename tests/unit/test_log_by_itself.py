"""Proofs, copies and tiles of a log: whoever has the keys needs nobody's word for what is in it."""

import base64

import pytest

from cloister.crypto.merkle import GrowingTree, check_inclusion, inclusion_path, leaf_hash
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.constitution import Witness
from cloister.formats.tile import Tile, parse_hashes, tiles_of
from cloister.formats.tlog_proof import MAXIMUM_PROOF, TlogProof, parse_tlog_proof
from cloister.ledger.log_rules import LogRules, named_rules
from cloister.ledger.mirror import MirrorRefused, examine_mirror
from cloister.ledger.proofs import ProofRefused, examine_proof
from cloister.ledger.tiles import TiledTree, inclusion_from_tiles, tile_hashes, tiles_for_inclusion
from cloister.testing.memory_log import MemoryLog

LOG = MemoryLog(witnesses=2)
for number in range(5):
    LOG.append(b"entry %d" % number)
RULES = LogRules(LOG.log, LOG.witnesses, 2)
NOTE = LOG.checkpoint(at=100)
PROOF = TlogProof(2, LOG.logged([2])[0].path, NOTE)

TREE = GrowingTree()
TREE.extend(leaf_hash(b"%d" % number) for number in range(66_000))


def grown(entries):
    tree = GrowingTree()
    tree.extend(map(leaf_hash, entries))
    return tree


# A proof that stands by itself.


def test_an_entry_is_proven_to_whoever_has_the_keys():
    proven = examine_proof(parse_tlog_proof(PROOF.encode()), b"entry 2", RULES).require()
    assert (proven.index, proven.entry, proven.checkpoint.cosigned_at) == (2, b"entry 2", 100)


def wrong_leaf():
    return PROOF, b"entry 3"


def another_index():
    return TlogProof(3, PROOF.path, NOTE), b"entry 2"


def another_path():
    return TlogProof(2, PROOF.path[::-1], NOTE), b"entry 2"


def a_path_cut_short():
    return TlogProof(2, PROOF.path[:-1], NOTE), b"entry 2"


def an_index_beyond_the_log():
    return TlogProof(5, PROOF.path, NOTE), b"entry 2"


@pytest.mark.breaks("proof.inclusion")
@pytest.mark.parametrize(
    "case",
    [wrong_leaf, another_index, another_path, a_path_cut_short, an_index_beyond_the_log],
    ids=lambda c: c.__name__,
)
def test_what_is_not_in_the_log_is_not_proven(case):
    proof, entry = case()
    examination = examine_proof(proof, entry, RULES)
    assert examination.failed == ["proof.inclusion"]
    with pytest.raises(ProofRefused, match=r"proof\.inclusion"):
        examination.require()


@pytest.mark.parametrize(
    ("check", "note"),
    [
        ("checkpoint.origin", LOG.checkpoint(at=100, origin="other.test")),
        ("checkpoint.signature", NOTE.replace(b"log.test/cloister ", b"log.test/cloisters ")),
        ("checkpoint.witnesses", LOG.checkpoint(at=100, cosigners=1)),
    ],
)
def test_a_proof_under_another_checkpoint_proves_nothing(check, note):
    assert check in examine_proof(TlogProof(2, PROOF.path, note), b"entry 2", RULES).failed


def test_the_form_is_that_of_the_specification():
    lines = PROOF.encode().decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 2"]
    assert [base64.b64decode(line) for line in lines[2:5]] == list(PROOF.path)
    assert "\n".join(lines[5:]).encode() == b"\n" + NOTE
    extra = TlogProof(0, (), b"note", b"more").encode()
    assert extra == b"c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 0\n\nnote"
    assert parse_tlog_proof(extra) == TlogProof(0, (), b"note", b"more")


HEAD = b"c2sp.org/tlog-proof@v1\n"
HASH = base64.b64encode(bytes(32)) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"index 0\n\n",
        HEAD + b"index 0\nnote",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nnote",
        HEAD + b"\nnote",
        HEAD + b"index 00\n\nnote",
        HEAD + b"index -1\n\nnote",
        HEAD + b"index\n\nnote",
        HEAD + HASH + b"\nnote",
        HEAD + b"index 0\nextra AAAA\n\nnote",
        HEAD + b"extra AAAB=\nindex 0\n\nnote",
        HEAD + b"extra AA\nindex 0\n\nnote",
        HEAD + b"extra " + base64.b64encode(bytes(65_537)) + b"\nindex 0\n\nnote",
        HEAD + b"index 0\nAAAA\n\nnote",
        HEAD + b"index 0\n" + HASH * 64 + b"\nnote",
        HEAD + b"index 0\n\xff\n\nnote",
        HEAD.replace(b"\n", b"\r\n") + b"index 0\n\nnote",
    ],
)
def test_other_proofs_are_malformed(data):
    with pytest.raises(MalformedInput):
        parse_tlog_proof(data)


def test_a_proof_over_the_cap_is_refused_unread():
    with pytest.raises(TooLarge):
        parse_tlog_proof(bytes(MAXIMUM_PROOF + 1))


# A copy of all of it.


def test_a_copy_is_what_the_witnesses_saw():
    first = examine_mirror(NOTE, grown(LOG.entries), RULES, kept=None).require()
    assert (first.checkpoint.size, first.tree.size) == (5, 5)
    assert examine_mirror(NOTE, grown(LOG.entries), RULES, kept=first.checkpoint).failed == []


@pytest.mark.breaks("mirror.entries")
@pytest.mark.parametrize("entries", [LOG.entries[:4], [*LOG.entries[:4], b"other"], [*LOG.entries, b"more"], []])
def test_entries_that_do_not_add_up_are_no_copy(entries):
    examination = examine_mirror(NOTE, grown(entries), RULES, kept=None)
    assert examination.failed == ["mirror.entries"]
    with pytest.raises(MirrorRefused, match=r"mirror\.entries"):
        examination.require()


def kept(*entries):
    """The checkpoint of a copy that was made before, of these entries."""
    before = MemoryLog(witnesses=2)
    for entry in entries:
        before.append(entry)
    rules = LogRules(before.log, before.witnesses, 2)
    return examine_mirror(before.checkpoint(at=1), grown(entries), rules, kept=None).require().checkpoint


def test_a_copy_goes_on_from_the_one_before():
    assert examine_mirror(NOTE, grown(LOG.entries), RULES, kept=kept(*LOG.entries[:3])).failed == []


@pytest.mark.breaks("mirror.continuity")
@pytest.mark.parametrize(
    "before", [[b"entry 0", b"another"], [*LOG.entries, b"entry 5"]], ids=["a fork", "rolled back"]
)
def test_another_history_does_not_replace_the_copy(before):
    assert examine_mirror(NOTE, grown(LOG.entries), RULES, kept=kept(*before)).failed == ["mirror.continuity"]


# Tiles.


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000])
def test_the_tiles_of_a_log_are_its_whole_tree(size):
    tiles = {}
    for tile in tiles_of(size):
        if tile.level >= 0:
            tiles[tile] = parse_hashes(tile_hashes(tile, TREE.subtree), tile)
    assert TiledTree(size, tiles.__getitem__).root() == TREE.root(size)
    for index in {0, size // 3, size - 1}:
        needed = tiles_for_inclusion(index, size)
        path = inclusion_from_tiles(index, size, {tile: tiles[tile] for tile in needed})
        assert path == inclusion_path(index, size, TREE.subtree)
        check_inclusion(leaf_hash(b"%d" % index), index, size, path, TREE.root(size))
        assert len(needed) <= 5


def test_a_tile_above_is_the_roots_of_full_tiles_below():
    below = parse_hashes(tile_hashes(Tile(0, 3), TREE.subtree), Tile(0, 3))
    above = parse_hashes(tile_hashes(Tile(1, 0), TREE.subtree), Tile(1, 0))
    tree = GrowingTree()
    tree.extend(below)
    assert above[3] == tree.root(256)


def test_an_empty_log_has_the_empty_root():
    assert TiledTree(0, lambda _: ()).root() == TREE.root(0)


def test_there_is_no_path_beyond_the_log():
    with pytest.raises(ValueError, match="no leaf"):
        tiles_for_inclusion(5, 5)


# Whose word counts.

KEY, FIRST, SECOND = (SigningKey.generate().public for _ in range(3))
POST_QUANTUM = MlDsaKey.generate().public
LOG_VKEY = format_vkey("log.test", KEY, kind=ED25519)
W1 = format_vkey("w1.test", FIRST, kind=COSIGNATURE_V1)
W2 = format_vkey("w2.test", SECOND, kind=COSIGNATURE_V1)
W2_MORE = format_vkey("w2.test", POST_QUANTUM, kind=COSIGNATURE_ML_DSA)


def test_rules_are_read_from_verifier_keys():
    rules = named_rules(LOG_VKEY, [W1, W2_MORE, W2], 2)
    assert (rules.log.origin, rules.log.key, rules.quorum) == ("log.test", KEY, 2)
    assert rules.witnesses == (
        Witness(name="w1.test", key=FIRST),
        Witness(name="w2.test", key=SECOND, ml_dsa=POST_QUANTUM),
    )


NO_RULES = [
    (W1, [W1], 1, "not a log's"),
    (LOG_VKEY, [], 1, "out of 0"),
    (LOG_VKEY, [W1], 0, "a quorum of 0"),
    (LOG_VKEY, [W1, W2], 3, "a quorum of 3 out of 2"),
    (LOG_VKEY, [LOG_VKEY], 1, "type 04 or 06"),
    (LOG_VKEY, [W1, W1], 1, "none comes twice"),
    (LOG_VKEY, [W2_MORE], 1, "beside one of type 04"),
    (LOG_VKEY, [W1, format_vkey("w3.test", FIRST, kind=COSIGNATURE_V1)], 1, "its own keys"),
    (LOG_VKEY, ["words"], 1, "a verifier key is"),
]


@pytest.mark.parametrize(
    ("log", "witnesses", "quorum", "sentence"), NO_RULES, ids=[sentence for *_, sentence in NO_RULES]
)
def test_rules_that_make_no_sense_are_refused(log, witnesses, quorum, sentence):
    with pytest.raises(UsageError, match=sentence):
        named_rules(log, witnesses, quorum)
