"""Checkpoints signed, cosigned and examined."""

import json
from pathlib import Path

import pytest

from cloister.crypto.merkle import leaf_hash, root
from cloister.crypto.signing import BadSignature, SigningKey, check_signature
from cloister.formats.checkpoint import (
    COSIGNATURE_V1,
    Checkpoint,
    NoteSignature,
    SignedNote,
    cosigned_message,
    key_id,
    parse_checkpoint,
    parse_note,
    parse_vkey,
)
from cloister.formats.constitution import Log, Witness
from cloister.ledger.checkpoints import CheckpointRefused, check_log_signature, examine_checkpoint, sign_checkpoint
from cloister.ledger.cosignatures import cosign, cosignature_time

PUBLISHED = json.loads(Path("tests/vectors/c2sp-notes.json").read_text(encoding="utf-8"))["cosigned_checkpoint"]
TESSERA = Path("../shared/vectors/ledger/tlog-tiles/tessera-testlog")
LOG_KEY = SigningKey.generate()
LOG = Log(origin="log.test/cloister", key=LOG_KEY.public)
KEYS = {f"witness{number}.test": SigningKey.generate() for number in range(3)}
WITNESSES = tuple(Witness(name=name, key=key.public) for name, key in KEYS.items())
HEAD = Checkpoint(LOG.origin, 7, b"r" * 32)
NOTE = sign_checkpoint(HEAD, LOG_KEY)


def cosigned(times, *, note=NOTE):
    lines = tuple(cosign(note, name, KEYS[name], at=at) for name, at in times.items())
    return SignedNote(note.text, note.signatures + lines).encode()


def examine(data, *, quorum=2, log=LOG):
    return examine_checkpoint(data, log=log, witnesses=WITNESSES, quorum=quorum)


def test_a_published_checkpoint_with_four_cosignatures_is_verified():
    log, *witnesses = (parse_vkey(text) for text in [PUBLISHED["log"], *PUBLISHED["witnesses"]])
    verified = examine_checkpoint(
        PUBLISHED["note"].encode(),
        log=Log(origin=log.name, key=log.public),
        witnesses=[Witness(name=key.name, key=key.public) for key in witnesses],
        quorum=4,
    ).require()
    assert (verified.size, verified.cosigned_at) == (1432088532, PUBLISHED["cosigned_at"])
    assert set(verified.witnesses) == {key.name for key in witnesses}


@pytest.mark.parametrize("changed", ["1432088533", "1432088531"])
def test_a_published_checkpoint_of_another_size_is_refused(changed):
    log, *witnesses = (parse_vkey(text) for text in [PUBLISHED["log"], *PUBLISHED["witnesses"]])
    examination = examine_checkpoint(
        PUBLISHED["note"].replace("1432088532", changed).encode(),
        log=Log(origin=log.name, key=log.public),
        witnesses=[Witness(name=key.name, key=key.public) for key in witnesses],
        quorum=1,
    )
    assert examination.failed == ["checkpoint.signature", "checkpoint.witnesses"]


def test_the_roots_of_a_published_log_are_those_of_its_entries():
    if not TESSERA.exists():
        pytest.skip(f"{TESSERA} is not here")
    key = parse_vkey((TESSERA / "vkey.txt").read_text().strip())
    bundle, leaves = (TESSERA / "tile/entries/000.p/15").read_bytes(), []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        leaves.append(leaf_hash(bundle[2 : 2 + length]))
        bundle = bundle[2 + length :]
    for file in TESSERA.glob("checkpoint*"):
        note = parse_note(file.read_bytes())
        checkpoint = parse_checkpoint(note.text)
        assert checkpoint.root == root(leaves[: checkpoint.size])
        (line,) = (line for line in note.signatures if (line.name, line.key_id) == (key.name, key.id))
        check_signature(key.public, line.signature, note.text.encode())
        check_log_signature(note, Log(origin=checkpoint.origin, key=key.public))


def test_a_checkpoint_with_its_quorum_is_verified():
    verified = examine(cosigned({"witness0.test": 100, "witness2.test": 90})).require()
    assert (verified.origin, verified.size, verified.root) == (LOG.origin, 7, b"r" * 32)
    assert verified.witnesses == ("witness0.test", "witness2.test")


def test_the_time_is_the_quorum_th_latest_so_that_fewer_than_a_quorum_cannot_move_it_forward():
    data = cosigned({"witness0.test": 2**40, "witness1.test": 100, "witness2.test": 90})
    assert examine(data).require().cosigned_at == 100
    assert examine(data, quorum=3).require().cosigned_at == 90


def test_a_witness_counts_once_with_its_latest_time():
    lines = tuple(cosign(NOTE, "witness0.test", KEYS["witness0.test"], at=at) for at in (90, 100))
    data = SignedNote(NOTE.text, NOTE.signatures + lines).encode()
    assert examine(data).failed == ["checkpoint.witnesses"]
    assert examine(data, quorum=1).require().cosigned_at == 100


def test_signatures_of_strangers_are_skipped():
    stranger = cosign(NOTE, "stranger.test", SigningKey.generate(), at=100)
    namesake = cosign(NOTE, "witness1.test", SigningKey.generate(), at=100)
    note = SignedNote(NOTE.text, (*NOTE.signatures, stranger, namesake))
    assert examine(note.encode()).failed == ["checkpoint.witnesses"]


@pytest.mark.parametrize(
    ("check", "data"),
    [
        ("checkpoint.origin", b"no note"),
        ("checkpoint.origin", bytes(20_000)),
        ("checkpoint.signature", SignedNote(NOTE.text, tuple(cosign(NOTE, n, KEYS[n], at=9) for n in KEYS)).encode()),
        ("checkpoint.witnesses", cosigned({"witness0.test": 100})),
    ],
)
def test_each_fault_fails_its_own_step(check, data):
    examination = examine(data)
    assert examination.failed == [check]
    with pytest.raises(CheckpointRefused, match=check):
        examination.require()


def test_a_checkpoint_of_another_log_fails_by_its_origin():
    other = sign_checkpoint(Checkpoint("other.test", 7, b"r" * 32), LOG_KEY)
    data = cosigned({"witness0.test": 1, "witness1.test": 1}, note=other)
    assert "checkpoint.origin" in examine(data).failed


def test_a_log_signature_that_does_not_hold_is_refused_beside_one_that_does():
    (line,) = NOTE.signatures
    forged = NoteSignature(line.name, line.key_id, bytes(64))
    with pytest.raises(BadSignature):
        check_log_signature(SignedNote(NOTE.text, (line, forged)), LOG)


@pytest.mark.parametrize("signature", [bytes(71), bytes(73), (1).to_bytes(8, "big") + bytes(64)])
def test_a_cosignature_that_does_not_hold_is_refused(signature):
    witness = WITNESSES[0]
    line = NoteSignature(witness.name, key_id(witness.name, witness.key, kind=COSIGNATURE_V1), signature)
    with pytest.raises(BadSignature):
        cosignature_time(SignedNote(NOTE.text, (line,)), witness)


def test_a_cosignature_of_a_time_beyond_63_bits_is_refused():
    witness, at = WITNESSES[0], 2**63
    signature = at.to_bytes(8, "big") + KEYS[witness.name].sign(cosigned_message(NOTE.text, at))
    line = NoteSignature(witness.name, key_id(witness.name, witness.key, kind=COSIGNATURE_V1), signature)
    with pytest.raises(BadSignature, match="beyond"):
        cosignature_time(SignedNote(NOTE.text, (line,)), witness)
