"""Cosignatures by two keys: what counts, when, and what of it no quantum computer forges."""

import json
from dataclasses import replace as changed
from pathlib import Path

import msgspec
import pytest
from cryptography_vectors import open_vector_file

from cloister.crypto.ml_dsa import MlDsaKey, check_ml_dsa_signature
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.checkpoint import (
    COSIGNATURE_ML_DSA,
    Checkpoint,
    NoteSignature,
    SignedNote,
    cosigned_head,
    format_vkey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
)
from cloister.formats.constitution import Log, Witness
from cloister.ledger.checkpoints import examine_checkpoint, sign_checkpoint
from cloister.ledger.cosignatures import WitnessKeys, cosign, cosign_by_all, cosignature_time, own_lines
from cloister.secret import SecretBytes

TORCHWOOD = json.loads(Path("tests/vectors/torchwood-mldsa.json").read_text(encoding="utf-8"))
LOG_KEY = SigningKey.generate()
LOG = Log(origin="log.test/cloister", key=LOG_KEY.public)
KEYS = WitnessKeys(SigningKey.generate(), MlDsaKey.generate())
WITNESS = KEYS.named("witness.test")
HEAD = Checkpoint(LOG.origin, 7, b"r" * 32)
NOTE = sign_checkpoint(HEAD, LOG_KEY)
FIRST, SECOND = cosign_by_all(NOTE, WITNESS.name, KEYS, at=100)


def note(*lines, text=NOTE.text):
    return SignedNote(text, (*NOTE.signatures, *lines))


def examined(*lines, witness=WITNESS):
    return examine_checkpoint(note(*lines).encode(), log=LOG, witnesses=[witness], quorum=1)


def test_a_published_ml_dsa_cosignature_holds_over_the_head_alone():
    key, published = parse_vkey(TORCHWOOD["vkey"]), parse_note(TORCHWOOD["note"].encode())
    assert format_vkey(key.name, key.public, kind=key.kind) == TORCHWOOD["vkey"]
    (line,) = published.signatures
    assert (line.name, line.key_id) == (key.name, key.id)
    head = parse_checkpoint(published.text)
    check_ml_dsa_signature(key.public, line.signature[8:], cosigned_head(key.name, 0, head))
    for other in (
        cosigned_head(key.name, 1, head),
        cosigned_head("another", 0, head),
        *(cosigned_head(key.name, 0, changed(head, **change)) for change in ({"size": 2}, {"origin": "another"})),
    ):
        with pytest.raises(BadSignature):
            check_ml_dsa_signature(key.public, line.signature[8:], other)


def test_keys_are_those_of_nist_s_seeds():
    with open_vector_file("asymmetric/MLDSA/kat_MLDSA_44_det_pure.rsp", "r") as file:
        head = [line.strip().partition(" = ") for line in file.read(20_000).splitlines()]
    values = {name: value for name, _, value in reversed(head)}  # of the first case
    key = MlDsaKey.from_seed(SecretBytes(bytes.fromhex(values["xi"])))
    assert key.public.hex() == values["pk"].lower()
    assert key.seed == SecretBytes(bytes.fromhex(values["xi"]))
    assert "MlDsaKey of" in repr(key)


@pytest.mark.parametrize(("public", "signature"), [(bytes(1311), bytes(2420)), (bytes(1312), bytes(2419))])
def test_keys_and_signatures_of_other_sizes_are_refused(public, signature):
    with pytest.raises(BadSignature, match=r"1,312 bytes"):
        check_ml_dsa_signature(public, signature, b"")


def test_a_witness_named_by_two_keys_has_cosigned_where_both_say_so():
    assert examined(FIRST, SECOND).require().cosigned_at == 100
    assert own_lines(note(FIRST, SECOND), WITNESS) == (FIRST, SECOND)
    for alone in ((FIRST,), (SECOND,)):
        assert examined(*alone).failed == ["checkpoint.witnesses"]


def test_a_witness_named_by_one_key_needs_no_other_and_gets_no_weight_from_it():
    one = Witness(name=WITNESS.name, key=WITNESS.key)
    assert examined(FIRST, SECOND, witness=one).require().cosigned_at == 100
    assert examined(SECOND, witness=one).failed == ["checkpoint.witnesses"]


@pytest.mark.parametrize(("first", "second"), [(2**40, 100), (100, 2**40)])
def test_the_time_is_the_earlier_of_the_two_so_that_one_stolen_key_does_not_push_it_forward(first, second):
    lines = cosign(NOTE, WITNESS.name, KEYS.ed25519, at=first), cosign_by_all(NOTE, WITNESS.name, KEYS, at=second)[1]
    assert cosignature_time(note(*lines), WITNESS) == 100


@pytest.mark.parametrize(
    "signature",
    [b"12345", SECOND.signature[:-1], SECOND.signature[:8] + bytes(2420), bytes(8) + SECOND.signature[8:]],
)
def test_an_ml_dsa_cosignature_that_does_not_hold_refuses_the_checkpoint(signature):
    examination = examined(FIRST, NoteSignature(SECOND.name, SECOND.key_id, signature))
    assert examination.failed == ["checkpoint.witnesses"]


def test_it_is_of_one_log_size_root_and_witness():
    for change in ({"origin": "other.test"}, {"size": 8}, {"root": b"s" * 32}):
        other = changed(HEAD, **change)
        lines = cosign(SignedNote(other.text(), ()), WITNESS.name, KEYS.ed25519, at=100), SECOND
        with pytest.raises(BadSignature, match="ML-DSA-44"):
            cosignature_time(note(*lines, text=other.text()), WITNESS)


def test_a_note_that_is_no_checkpoint_has_no_ml_dsa_cosignature():
    lines = cosign(SignedNote("words\n", ()), WITNESS.name, KEYS.ed25519, at=100), SECOND
    with pytest.raises(BadSignature, match="no checkpoint"):
        cosignature_time(note(*lines, text="words\n"), WITNESS)


@pytest.mark.parametrize(("name", "origin"), [("", "log.test"), ("w" * 256, "log.test"), ("w.test", "l" * 256)])
def test_names_that_do_not_fit_their_length_byte_are_not_cosigned(name, origin):
    with pytest.raises(MalformedInput, match="1 to 255 bytes"):
        cosigned_head(name, 1, changed(HEAD, origin=origin))


def test_a_witness_without_a_second_key_is_written_as_before_it_could_have_one():
    one = Witness(name="w.test", key=bytes(32))
    assert canonical.encode(one) == bytes.fromhex("a2636b65795820" + "00" * 32 + "646e616d6566772e74657374")
    assert canonical.decode(canonical.encode(WITNESS), Witness, limit=4096) == WITNESS
    spelt_out = canonical.encode(WITNESS).replace(WITNESS.ml_dsa, b"").replace(b"\x59\x05\x20", b"\x40")
    with pytest.raises(MalformedInput, match="ml_dsa"):
        canonical.decode(spelt_out, Witness, limit=4096)


def test_thirty_two_witnesses_with_two_keys_each_fit_a_note():
    many = [msgspec.structs.replace(WITNESS, name=f"witness{number}.test/{'w' * 112}") for number in range(32)]
    lines = [line for one in many for line in cosign_by_all(NOTE, one.name, KEYS, at=100)]
    verified = examine_checkpoint(note(*lines).encode(), log=LOG, witnesses=many, quorum=32).require()
    assert len(verified.witnesses) == 32


def test_the_verifier_key_names_its_kind():
    text = format_vkey(WITNESS.name, WITNESS.ml_dsa, kind=COSIGNATURE_ML_DSA)
    assert (parse_vkey(text).kind, parse_vkey(text).public) == (0x06, WITNESS.ml_dsa)
