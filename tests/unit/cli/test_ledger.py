"""`cloister ledger`, run as its users do: copies, proofs, and whose word counts."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.doubles.command_line import cloister_command
from tests.doubles.made_log import MadeLog

from cloister.cli.log_options import read_rules
from cloister.cli.state_folder import StateFolder
from cloister.crypto.merkle import leaf_hash
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, Checkpoint, format_vkey
from cloister.formats.ledger_messages import encode_list
from cloister.ledger.receipts import sign_inclusion
from cloister.testing.world import World


@pytest.fixture
def log(tmp_path):
    return MadeLog(tmp_path / "log").grow(300)


def rules(log, *, quorum=2):
    witnesses = [format_vkey(one.name, one.key, kind=COSIGNATURE_V1) for one in log.rules.witnesses]
    named = [word for key in witnesses for word in ("--witness", key)]
    return ["--log", format_vkey(log.log.log.origin, log.log.log.key, kind=ED25519), *named, "--quorum", str(quorum)]


async def test_a_log_is_copied_and_an_entry_of_the_copy_proven_offline(log, tmp_path):
    async def run(*arguments):
        return await cloister_command("ledger", *arguments, *rules(log), home=tmp_path)

    copied = await run("export", "copy", "--from", "log")
    assert (copied.code, copied.err) == (0, "")
    assert copied.out.startswith("copy holds 300 entries of log.test/cloister, root ")
    assert copied.out.endswith("cosigned by witness0.test, witness1.test, 1970-01-01 00:01:40 UTC.\n")
    made = await run("proof", "290", "--from", "copy", "--out", "mine")
    assert (made.code, made.out) == (0, "wrote mine.entry and mine.tlog-proof\n")
    assert (tmp_path / "mine.entry").read_bytes() == b"entry 290"
    verified = await run("verify-proof", "mine.tlog-proof", "mine.entry")
    assert (verified.code, verified.err) == (0, "")
    assert "4 ✓ proof.inclusion" in verified.out
    assert verified.out.endswith("Entry 290 of log.test/cloister, witnessed 1970-01-01 00:01:40 UTC.\n")
    (tmp_path / "mine.entry").write_bytes(b"entry 291")
    refused = await run("verify-proof", "mine.tlog-proof", "mine.entry", "--json")
    assert refused.code == 3
    told = json.loads(refused.out)
    assert (told["passed"], told["index"]) == (False, 290)
    assert [step["id"] for step in told["steps"] if step["outcome"] == "failed"] == ["proof.inclusion"]


async def test_a_fork_is_refused_by_its_check(log, tmp_path):
    log.folder.write("tile/entries/000", b"\0\0" * 256)
    ran = await cloister_command("ledger", "export", "copy", "--from", "log", "--json", *rules(log), home=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    assert "mirror.entries" in ran.err


async def test_a_proof_that_is_none_is_told_apart_from_one_that_does_not_hold(log, tmp_path):
    (tmp_path / "words").write_bytes(b"words")
    ran = await cloister_command("ledger", "verify-proof", "words", "words", *rules(log), home=tmp_path)
    assert ran.code == 2
    assert "words is no proof" in ran.err


def state_of(tmp_path, constitution):
    (tmp_path / "constitution.entries").write_bytes(encode_list([constitution]))
    return StateFolder(tmp_path)


async def test_a_local_systems_keys_are_printed_as_other_commands_take_them(tmp_path):
    world = World()
    state = state_of(tmp_path, world.log.entries[0])
    ran = await cloister_command("ledger", "keys", "--state", state.root, home=tmp_path)
    words = [word for line in ran.out.splitlines() for word in line.split(" ", 1)]
    assert words[::2] == ["--log", "--witness", "--witness", "--quorum"]
    log_key, *witnesses, quorum = words[1::2]
    assert read_rules(log_key, tuple(witnesses), int(quorum), state) == read_rules(None, (), None, state)
    told = json.loads((await cloister_command("ledger", "keys", "--json", "--state", state.root, home=tmp_path)).out)
    assert told == {"log": log_key, "witnesses": witnesses, "quorum": int(quorum)}


def test_whose_word_counts_is_never_left_open(log, tmp_path):
    _, log_key, _, witness, *_ = rules(log)
    for given in [(log_key, (), None), (log_key, (witness,), None), (None, (witness,), 1)]:
        with pytest.raises(UsageError, match="given together"):
            read_rules(*given, StateFolder(tmp_path))
    with pytest.raises(UsageError, match="there is no local system"):
        read_rules(None, (), None, StateFolder(tmp_path))


async def test_a_receipt_is_held_against_the_logs_key(tmp_path):
    key = SigningKey.generate()
    head = Checkpoint("log.test", 1, leaf_hash(b"an entry"))
    public = Ed25519PublicKey.from_public_bytes(key.public)
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "receipt").write_bytes(sign_inclusion(key, head, 0, ()))
    (tmp_path / "entry").write_bytes(b"an entry")

    async def run(*arguments):
        return await cloister_command("ledger", "verify-receipt", *arguments, "--key", "key.pem", home=tmp_path)

    held = await run("receipt", "entry")
    assert (held.code, held.out) == (
        0,
        f"The log signed a root, {head.root.hex()}, with this entry at 0 of 1.\n",
    )
    assert json.loads((await run("receipt", "entry", "--json")).out) == {"index": 0, "size": 1, "root": head.root.hex()}
    (tmp_path / "entry").write_bytes(b"another")
    assert (await run("receipt", "entry")).code == 3
    refused = await run("entry", "entry")
    assert refused.code == 2
    assert "entry is no receipt" in refused.err
