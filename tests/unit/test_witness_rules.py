"""The decisions of a witness."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.crypto.merkle import EMPTY_ROOT, BadProof, GrowingTree, consistency_path, leaf_hash
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import CloisterError, MalformedInput, TooLarge, UsageError
from cloister.formats.add_checkpoint import AddCheckpoint, parse_add_checkpoint
from cloister.formats.checkpoint import Checkpoint, SignedNote
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.ledger.witness_rules import (
    NOTHING,
    Fork,
    SizeConflict,
    TreeHead,
    UnknownLog,
    advance,
    authenticate,
)

SEQUENCE = Path("../shared/vectors/ledger/witness/litewitness-sequence.json")
KEY = SigningKey.generate()
LOG = Log(origin="log.test/cloister", key=KEY.public)
LOGS = {LOG.origin: LOG}
TREE = GrowingTree()
for number in range(12):
    TREE.append(leaf_hash(bytes([number])))


def head(size):
    return TreeHead(size, TREE.root(size))


def request(old, new, *, path=None, root=None, key=KEY, origin=LOG.origin):
    checkpoint = Checkpoint(origin, new, TREE.root(new) if root is None else root)
    if path is None:
        path = consistency_path(old, new, TREE.subtree) if 0 < old <= new else ()
    return AddCheckpoint(old, tuple(path), sign_checkpoint(checkpoint, key).encode())


def decide(asked, remembered):
    return advance(authenticate(asked, LOGS), remembered)


def test_the_published_conversation_is_answered_as_published():
    if not SEQUENCE.exists():
        pytest.skip(f"{SEQUENCE} is not here")
    published = json.loads(SEQUENCE.read_text(encoding="utf-8"))
    key = bytes.fromhex(published["log_ed25519_public_key_hex"])
    first = published["requests"][0]["request_body"]
    origin = first.split("\n")[2]
    logs, remembered = {origin: Log(origin=origin, key=key)}, NOTHING
    for number, case in enumerate(published["requests"]):
        status, size = 200, None
        try:
            submission = authenticate(parse_add_checkpoint(case["request_body"].encode()), logs)
            remembered = advance(submission, remembered)
        except CloisterError as refusal:
            status, size = refusal.status, getattr(refusal, "size", None)
        # At that commit an unknown origin answered 403; the specification says 404.
        wanted = 404 if "unknown log" in case["assert"] else case["status"]
        assert status == wanted, number
        if status == 409:
            assert f'"{size}\\n"' in case["assert"]


def test_a_log_grows_step_by_step():
    remembered = NOTHING
    for old, new in [(0, 0), (0, 3), (3, 3), (3, 4), (4, 12)]:
        remembered = decide(request(old, new), remembered)
        assert remembered == head(new)


@pytest.mark.parametrize(
    ("asked", "remembered", "refusal", "status"),
    [
        (request(0, 3, origin="other.test"), NOTHING, UnknownLog, 404),
        (request(0, 3, key=SigningKey.generate()), NOTHING, BadSignature, 403),
        (request(5, 3), head(5), UsageError, 400),
        (request(0, 3), head(3), SizeConflict, 409),
        (request(3, 8), head(5), SizeConflict, 409),
        (request(3, 8), NOTHING, SizeConflict, 409),
        (request(3, 3, root=b"f" * 32), head(3), Fork, 409),
        (request(0, 0, root=b"f" * 32), NOTHING, Fork, 409),
        (request(3, 3, path=[bytes(32)]), head(3), BadProof, 422),
        (request(0, 3, path=[bytes(32)]), NOTHING, BadProof, 422),
        (request(3, 8, path=[]), head(3), BadProof, 422),
        (request(3, 8, root=b"f" * 32), head(3), BadProof, 422),
        (request(3, 8), TreeHead(3, b"f" * 32), BadProof, 422),
    ],
)
def test_each_refusal_has_the_status_of_the_specification(asked, remembered, refusal, status):
    with pytest.raises(refusal) as raised:
        decide(asked, remembered)
    assert raised.value.status == status


def test_an_unsigned_checkpoint_is_refused():
    note = sign_checkpoint(Checkpoint("other.test", 1, TREE.root(1)), KEY)
    unsigned = SignedNote(Checkpoint(LOG.origin, 1, TREE.root(1)).text(), note.signatures)
    with pytest.raises(BadSignature):
        decide(replace(request(0, 1), note=unsigned.encode()), NOTHING)


def test_what_is_no_checkpoint_is_malformed():
    with pytest.raises(MalformedInput):
        authenticate(AddCheckpoint(0, (), b"text\n"), LOGS)


def test_nothing_remembered_is_the_empty_tree():
    assert TreeHead(0, EMPTY_ROOT) == NOTHING


def test_a_request_is_read_as_it_was_written():
    asked = request(3, 8)
    assert parse_add_checkpoint(asked.encode()) == asked
    assert parse_add_checkpoint(request(0, 8).encode()) == request(0, 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1\n",
        b"new 1\n\nnote",
        b"old 01\n\nnote",
        b"old  1\n\nnote",
        b"old 1\n\xff\n\nnote",
        b"old 1\nAAAA\n\nnote",
        b"old 1\n" + b"A" * 43 + b"=\n" * 64 + b"\nnote",
        b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\nnote",
    ],
)
def test_other_requests_are_malformed(body):
    with pytest.raises(MalformedInput):
        parse_add_checkpoint(body)


def test_an_oversized_request_is_refused_unread():
    with pytest.raises(TooLarge):
        parse_add_checkpoint(bytes(140_000))
