"""The wire form of notes, checkpoints and verifier keys."""

import base64
import json
from pathlib import Path

import pytest

from cloister.crypto.signing import SigningKey, check_signature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import (
    COSIGNATURE_ML_DSA,
    COSIGNATURE_V1,
    ED25519,
    Checkpoint,
    NoteSignature,
    SignedNote,
    format_vkey,
    parse_checkpoint,
    parse_note,
    parse_signature_lines,
    parse_vkey,
)
from cloister.secret import SecretBytes

C2SP = json.loads(Path("tests/vectors/c2sp-notes.json").read_text(encoding="utf-8"))
SHARED = Path("../shared/vectors/ledger")
ROOT = base64.b64encode(bytes(32)).decode()
LINE = "\u2014 log.test " + base64.b64encode(bytes(68)).decode() + "\n"


def shared(path):
    file = SHARED / path
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return file.read_text(encoding="utf-8")


def test_the_published_signed_note_is_read_checked_and_made_again():
    published = C2SP["signed_note"]
    key, note = parse_vkey(published["vkey"]), parse_note(published["note"].encode())
    (line,) = note.signatures
    assert (line.name, line.key_id) == (key.name, key.id)
    check_signature(key.public, line.signature, note.text.encode())
    signer = SigningKey.from_seed(SecretBytes(bytes.fromhex(published["seed"])))
    again = SignedNote(note.text, (NoteSignature(key.name, key.id, signer.sign(note.text.encode())),))
    assert again.encode() == published["note"].encode()


def test_the_example_of_c2sp_signed_note_is_read_and_checked():
    example = json.loads(shared("signed-note/c2sp-example.json"))
    key, note = parse_vkey(example["vkey"]), parse_note(example["note"].encode())
    (line,) = note.signatures
    assert (line.name, line.key_id) == (key.name, key.id)
    check_signature(key.public, line.signature, note.text.encode())


def test_checkpoint_bodies_are_judged_as_published():
    for case in json.loads(shared("signed-note/checkpoint-bodies.json")):
        # The published roots are not 32 bytes, and are not judged there; one of ours stands in their place.
        lines = case["body"].split("\n")
        if len(lines) > 2 and lines[2]:
            lines[2] = ROOT
        body = "\n".join(lines)
        if case["expect"] == "accept":
            assert parse_checkpoint(body).text() == body, case["desc"]
        else:
            with pytest.raises(MalformedInput):
                parse_checkpoint(body)


def test_every_published_verifier_key_is_written_as_it_was_read():
    published = [C2SP["signed_note"]["vkey"], C2SP["cosigned_checkpoint"]["log"]]
    for text in [*published, *C2SP["cosigned_checkpoint"]["witnesses"]]:
        key = parse_vkey(text)
        assert format_vkey(key.name, key.public, kind=key.kind) == text


@pytest.mark.parametrize(
    "text",
    [
        *C2SP["refused_vkeys"]["vkeys"],
        "",
        "log.test+00000000",
        "log test+00000000+" + base64.b64encode(bytes([1]) + bytes(32)).decode(),
        "log.test+00000000+" + base64.b64encode(bytes([1]) + bytes(32)).decode(),
        format_vkey("log.test", bytes(32), kind=2),
        format_vkey("log.test", bytes(31), kind=ED25519),
        format_vkey("log.test", bytes(32), kind=COSIGNATURE_ML_DSA),
        format_vkey("log.test", bytes(1312), kind=COSIGNATURE_V1),
        format_vkey("log.test", bytes(32), kind=ED25519)[:-1],
        format_vkey("log.test", bytes(32), kind=COSIGNATURE_V1).replace("log.", "log"),
    ],
)
def test_other_verifier_keys_are_malformed(text):
    with pytest.raises(MalformedInput):
        parse_vkey(text)


def test_extension_lines_are_kept():
    checkpoint = parse_checkpoint(f"log.test\n1\n{ROOT}\nmore\n")
    assert checkpoint == Checkpoint("log.test", 1, bytes(32), ("more",))
    assert checkpoint.text() == f"log.test\n1\n{ROOT}\nmore\n"


@pytest.mark.parametrize(
    "body",
    [
        f"log.test\n01\n{ROOT}\n",
        f"log.test\n+1\n{ROOT}\n",
        f"log.test\n\u0661\n{ROOT}\n",
        f"log.test\n9223372036854775808\n{ROOT}\n",
        "log.test\n1\nAAAA\n",
        f"log.test\n1\n{ROOT[:-2]}B=\n",
        f"log.test\n1\n{ROOT}",
    ],
)
def test_other_bodies_are_malformed(body):
    with pytest.raises(MalformedInput):
        parse_checkpoint(body)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"\n\n" + LINE.encode(),
        b"text\n\n" + LINE.encode()[:-1],
        b"text\n\n" + LINE.encode().replace(b"\xe2\x80\x94", b"-"),
        b"text\n\n" + LINE.encode().replace(b"log.test", b"log+test"),
        b"text\n\n" + LINE.encode().replace(b"log.test", "log\u00a0test".encode()),
        b"text\n\n\xe2\x80\x94 log.test AAAA\n",
        b"text\t\n\n" + LINE.encode(),
        b"\xff\n\n" + LINE.encode(),
        b"text\n\n" + LINE.encode() * 97,
    ],
)
def test_other_notes_are_malformed(note):
    with pytest.raises(MalformedInput):
        parse_note(note)


def test_a_note_may_hold_empty_lines_and_sixteen_signatures():
    note = parse_note(b"text\n\nmore\n\n" + LINE.encode() * 16)
    assert note.text == "text\n\nmore\n"
    assert len(note.signatures) == 16


def test_signature_lines_stand_alone_too():
    assert parse_signature_lines(LINE.encode()) == (NoteSignature("log.test", bytes(4), bytes(64)),)


@pytest.mark.parametrize("lines", [b"", b"\n", b"\xff\n", LINE.encode()[:-1], LINE.encode() * 97])
def test_other_signature_lines_are_malformed(lines):
    with pytest.raises(MalformedInput):
        parse_signature_lines(lines)


def test_oversized_notes_are_refused_unread():
    with pytest.raises(TooLarge):
        parse_note(bytes(131_073))
    with pytest.raises(TooLarge):
        parse_signature_lines(bytes(131_073))
