"""`cloister ledger audit`, run as its users do: over a copy of an honest ledger, and over forged ones."""

import json

import pytest
from tests.doubles.command_line import cloister_command
from tests.doubles.forged_ledgers import FORGERIES, Forger
from tests.doubles.honest_ledger import HonestLedger, lived
from tests.doubles.log_files import write_log

from cloister.formats.ledger_backup import BackupHead, BackupWriter, Kind
from cloister.formats.ledger_messages import encode_list


@pytest.fixture(scope="module")
def honest():
    return lived()


@pytest.fixture
def audit(honest, tmp_path):
    """Audits the log in a folder of the test's."""
    (tmp_path / "constitution.entries").write_bytes(encode_list([honest.genesis]))
    write_log(tmp_path / "log", honest.entries, honest.audit().checkpoint.note, honest.ledger.blobs)

    async def run(*arguments, constitution=("--constitution", "constitution.entries")):
        command = ("ledger", "audit", "--from", "log", *constitution, *arguments)
        return await cloister_command(*command, home=tmp_path)

    return run


def told(ran, what):
    lines = [json.loads(line) for line in ran.out.splitlines()]
    return [line[what] for line in lines if what in line]


async def test_an_honest_log_reads_as_a_history(honest, audit):
    ran = await audit()
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[7].split("  ", 3)[3].strip().startswith("vote")
    assert "approves the proposal of entry 5: the proposal of entry 5 is passed  (party auditor)" in lines[7]
    assert lines[-1] == "Nothing was found that does not follow."
    assert f"{len(honest.entries)} entries: 2 constitution," in ran.out


async def test_json_lines_say_the_same(honest, audit):
    ran = await audit("--json")
    entries = told(ran, "entry")
    assert [one["index"] for one in entries] == list(range(len(honest.entries)))
    assert {signer["role"] for one in entries for signer in one["signers"]} == {"amender", "party", "instance"}
    (summary,) = told(ran, "summary")
    assert summary["found"] == {"fault": 0, "warning": 0, "note": 0}
    assert summary["checkpoint"]["size"] == summary["size"] == len(honest.entries)


async def test_a_fault_is_told_and_ends_with_code_3(honest, audit, tmp_path):
    forger = FORGERIES["a release whose evidence is not kept"].made(honest)
    write_log(tmp_path / "log", forger.entries, forger.note(), {})
    ran = await audit("--json", "--brief")
    assert ran.code == 3
    found = told(ran, "finding")
    assert (found[0]["severity"], found[0]["index"], found[0]["check"]) == ("fault", 4, "audit.kept")
    assert "audit.kept" in ran.err
    assert not told(ran, "entry")


async def test_warnings_alone_do_not_end_it_with_code_3(honest, audit, tmp_path):
    forger = FORGERIES["a vote after the veto"].made(honest)
    write_log(tmp_path / "log", forger.entries, forger.note(), forger.blobs)
    ran = await audit("--brief")
    assert ran.code == 0
    assert "! warning vote.open" in ran.out
    assert ran.out.endswith("Found: 1 warning.\n")


async def test_without_evidence_nothing_is_examined_again_and_that_is_told(honest, audit, tmp_path):
    write_log(tmp_path / "bare", honest.entries, honest.audit().checkpoint.note, {})
    ran = await audit("--from", "bare", "--without-evidence", "--brief")
    assert ran.code == 0
    assert "5 releases were not examined again" in ran.out


async def test_evidence_may_lie_elsewhere(honest, audit, tmp_path):
    write_log(tmp_path / "bare", honest.entries, honest.audit().checkpoint.note, {})
    assert (await audit("--from", "bare", "--brief")).code == 3
    assert (await audit("--from", "bare", "--evidence", "log", "--brief")).code == 0


async def test_a_kept_checkpoint_is_where_the_next_audit_begins(honest, audit, tmp_path):
    earlier = honest.entries[:12]
    forger = Forger(honest)
    write_log(tmp_path / "log", earlier, forger.note(earlier), honest.ledger.blobs)
    assert (await audit("--keep", "seen")).code == 0
    write_log(tmp_path / "log", honest.entries, forger.note(honest.entries), honest.ledger.blobs)
    ran = await audit("--since", "seen", "--json")
    assert ran.code == 0
    assert [one["index"] for one in told(ran, "entry")] == list(range(12, len(honest.entries)))


async def test_a_log_that_does_not_continue_a_kept_checkpoint_is_refused_and_keeps_nothing(honest, audit, tmp_path):
    forger = FORGERIES["a veto taken out of a log that was seen before"].made(honest)
    before, since = forger.shown
    (tmp_path / "seen").write_bytes(before.note)
    write_log(tmp_path / "log", forger.entries, since.note, forger.blobs)
    assert (await audit()).code == 0  # by itself the log is consistent
    ran = await audit("--since", "seen", "--keep", "seen", "--brief")
    assert ran.code == 3
    assert "audit.fork" in ran.err
    assert (tmp_path / "seen").read_bytes() == before.note


async def test_a_log_that_ends_before_a_kept_checkpoint_is_refused(honest, audit, tmp_path):
    assert (await audit("--keep", "seen", "--brief")).code == 0
    earlier = honest.entries[:12]
    write_log(tmp_path / "log", earlier, Forger(honest).note(earlier), honest.ledger.blobs)
    ran = await audit("--since", "seen", "--brief")
    assert ran.code == 3
    assert "audit.size" in ran.err


async def test_a_fault_before_where_it_is_told_from_is_told_all_the_same(honest, audit, tmp_path):
    forger = FORGERIES["a rotation dated back"].made(honest)
    write_log(tmp_path / "log", forger.entries, forger.note(), forger.blobs)
    ran = await audit("--since", str(forger.at("epoch after revocation") + 1), "--json", "--brief")
    assert ran.code == 3
    assert "audit.window" in {one["check"] for one in told(ran, "finding")}


async def test_another_genesis_than_the_pinned_one_is_refused(honest, audit, tmp_path):
    other = HonestLedger()
    (tmp_path / "other.entries").write_bytes(encode_list([other.genesis]))
    ran = await audit("--brief", constitution=("--constitution", "other.entries"))
    assert ran.code == 3
    assert "constitution.genesis" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--since", "nowhere"), "no number of entries, and no file"),
        (("--since", "constitution.entries"), "is no checkpoint"),
        (("--policy", "policy.toml"), "say the same thing"),
        (("--evidence", "nowhere"), "neither the address"),
    ],
    ids=["no-file", "no-checkpoint", "two-pins", "no-evidence"],
)
async def test_what_makes_no_sense_is_refused_as_usage(audit, arguments, says):
    ran = await audit(*arguments)
    assert ran.code == 2
    assert says in ran.err


async def test_an_audit_pins_something_or_does_not_begin(audit):
    ran = await audit(constitution=())
    assert ran.code == 2
    assert "trust policy" in ran.err


async def test_a_copy_that_lacks_a_file_is_told_apart_from_a_log_that_does_not_follow(audit, tmp_path):
    for bundle in (tmp_path / "log" / "tile").rglob("*.p/*"):
        bundle.unlink()
    ran = await audit()
    assert ran.code == 4
    assert "is not there" in ran.err


def write_backup(path, honest, entries, notes):
    with path.open("wb") as file:
        log = honest.world.log.log
        writer = BackupWriter(file.write, BackupHead(origin=log.origin, key=log.key))
        bodies = {Kind.ENTRY: entries, Kind.CHECKPOINT: notes, Kind.BLOB: honest.ledger.blobs.values()}
        for kind, records in bodies.items():
            for body in records:
                writer.add(kind, body)
        writer.end()


async def test_a_backup_is_audited_with_the_evidence_in_it(honest, audit, tmp_path):
    note = honest.audit().checkpoint.note
    write_backup(tmp_path / "log.backup", honest, [*honest.entries, b"not cosigned yet"], [note])
    ran = await audit("--from", "log.backup", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [one["index"] for one in told(ran, "entry")] == list(range(len(honest.entries)))
    forger = FORGERIES["a rotation that names another previous"].made(honest)
    write_backup(tmp_path / "log.backup", honest, forger.entries, [forger.note()])
    ran = await audit("--from", "log.backup", "--brief")
    assert ran.code == 3
    assert "epoch.chain" in ran.err


@pytest.mark.parametrize("kept", [0, 40, -1], ids=["empty", "begun", "without-its-end"])
async def test_a_part_of_a_backup_is_refused_as_none(honest, audit, tmp_path, kept):
    path = tmp_path / "log.backup"
    write_backup(path, honest, honest.entries, [honest.audit().checkpoint.note])
    path.write_bytes(path.read_bytes()[:kept])
    ran = await audit("--from", "log.backup")
    assert ran.code == 2
    assert "log.backup is neither" in ran.err
