"""Backups of a ledger: whole, verified both ways, from any database into any, and never over a log."""

import io
import os
import stat

import pytest
from tests.doubles.faulty_ledger import ORIGIN, LedgerLife, make_keys
from tests.doubles.ledger_system import statement

from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, Unavailable, UsageError
from cloister.formats.checkpoint import COSIGNATURE_V1, format_vkey
from cloister.formats.ledger_backup import BackupHead, BackupWriter, Kind, parse_head, read_backup
from cloister.hosting.database_settings import DatabaseSettings
from cloister.ledger.backup import BadBackup
from cloister.services.ledger.backup import make_backup, restore_backup, verify
from cloister.services.ledger.quorum import RolledBack, Unwitnessed
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress
from cloister.storage.blobs import BlobStore
from cloister.storage.database_file import CorruptStore
from cloister.storage.key_file import write_signing_key

ENTRIES = [statement(number) for number in range(5)]
BLOBS = [b"", b"blob", bytes(70_000)]


class Place:
    """A ledger of one log and its settings; `url` is of a database server, or it is in the folder."""

    def __init__(self, folder, keys, url="sqlite"):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        if not (folder / "log.seed").exists():
            write_signing_key(folder / "log.seed", keys["log"])
        vkey = format_vkey("witness0.test", keys["witness0"].public, kind=COSIGNATURE_V1)
        self.settings = LedgerSettings(
            port=0,
            folder=folder,
            origin=ORIGIN,
            key=folder / "log.seed",
            witnesses=(WitnessAddress(vkey=vkey, url="http://127.0.0.1:1"),),
            quorum=1,
            database=DatabaseSettings(url=url),
        )


@pytest.fixture
def keys():
    return make_keys()


@pytest.fixture
async def lived(tmp_path, keys):
    """A ledger that logged all entries and one more that no witness saw, and has blobs."""
    place = Place(tmp_path / "lived", keys)
    async with LedgerLife(place.folder, keys) as life:
        for entry in ENTRIES[:4]:
            await life.sequencer.append(entry)
        life.witnesses[0].down = True
        with pytest.raises(Unwitnessed):
            await life.sequencer.append(ENTRIES[4])
    blobs = BlobStore(place.folder / "blobs", maximum=2**20, capacity=2**30)
    for blob in BLOBS:
        blobs.put(blob)
    return place


async def test_a_backup_goes_from_any_database_into_any_and_is_the_same_bytes_again(lived, tmp_path, keys, postgresql):
    places = [
        lived,
        Place(tmp_path / "file", keys),
        Place(tmp_path / "server", keys, postgresql.url(await postgresql.new_database())),
        Place(tmp_path / "other server", keys, postgresql.url(await postgresql.new_database())),
        Place(tmp_path / "back again", keys),
    ]
    images = []
    for number, place in enumerate(places):
        backup = tmp_path / f"{number}.backup"
        made = await make_backup(place.settings, backup)
        assert (made.entries, made.checkpoints, made.blobs) == (5, 4, 3)
        assert made.newest is not None
        assert (made.newest.size, made.newest.witnesses) == (4, ("witness0.test",))
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        images.append(backup.read_bytes())
        for target in places[number + 1 : number + 2]:
            assert await restore_backup(target.settings, backup) == made
    assert images == [images[0]] * 5
    assert list(tmp_path.glob(".*")) == []


async def test_a_restored_ledger_goes_on_where_it_was(lived, tmp_path, keys):
    await make_backup(lived.settings, tmp_path / "backup")
    restored = Place(tmp_path / "restored", keys)
    await restore_backup(restored.settings, tmp_path / "backup")
    os.link(lived.folder / "witness0.sqlite", restored.folder / "witness0.sqlite")
    async with LedgerLife(restored.folder, keys) as life:
        assert (await life.sequencer.append(ENTRIES[4])).index == 4
        assert (await life.sequencer.append(ENTRIES[0])).index == 0
    blobs = BlobStore(restored.folder / "blobs", maximum=2**20, capacity=2**30)
    assert [blobs.get(blobs.put(blob)) for blob in BLOBS] == BLOBS


async def test_from_a_backup_that_is_older_than_the_log_nothing_is_signed(lived, tmp_path, keys):
    await make_backup(lived.settings, tmp_path / "backup")
    async with LedgerLife(lived.folder, keys) as life:
        for number in range(10, 13):
            await life.sequencer.append(statement(number))
    restored = Place(tmp_path / "restored", keys)
    await restore_backup(restored.settings, tmp_path / "backup")
    os.link(lived.folder / "witness0.sqlite", restored.folder / "witness0.sqlite")
    async with LedgerLife(restored.folder, keys) as life:
        with pytest.raises(RolledBack, match=r"ledger\.rollback: .* cosigned 8 entries of this log, 5 are here"):
            await life.sequencer.append(statement(20))
        assert await life.sequencer.entries(0, 4, limit=10**6) == ENTRIES[:4]


async def test_nothing_is_overwritten(lived, tmp_path, keys, postgresql):
    backup = tmp_path / "backup"
    await make_backup(lived.settings, backup)
    with pytest.raises(UsageError, match="never replaced"):
        await make_backup(lived.settings, backup)
    server = Place(tmp_path / "server", keys, postgresql.url(await postgresql.new_database()))
    for place in (Place(tmp_path / "file", keys), server):
        await restore_backup(place.settings, backup)
        with pytest.raises(UsageError, match="never over a log"):
            await restore_backup(place.settings, backup)
    async with LedgerLife(lived.folder, keys):
        with pytest.raises(Unavailable, match="in use"):
            await restore_backup(lived.settings, backup)


async def test_there_is_nothing_to_back_up_before_there_is_a_log(tmp_path, keys, postgresql):
    server = Place(tmp_path / "server", keys, postgresql.url(await postgresql.new_database()))
    for place, sentence in ((Place(tmp_path / "file", keys), "has not run yet"), (server, "there is no log")):
        with pytest.raises(UsageError, match=sentence):
            await make_backup(place.settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    with pytest.raises(UsageError, match="cannot be read"):
        await restore_backup(server.settings, tmp_path / "backup")


async def test_a_damaged_ledger_makes_no_backup(lived, tmp_path):
    file = lived.folder / "ledger.sqlite"
    content = file.read_bytes()
    at = content.index(ENTRIES[2]) + 40
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(CorruptStore, match="entry 2 is not what was written"):
        await make_backup(lived.settings, tmp_path / "backup")
    file.write_bytes(content)
    (blob,) = (lived.folder / "blobs").glob("e3b0c442*")
    blob.write_bytes(b"something else")
    with pytest.raises(CorruptStore, match=r"the blob e3b0c442.* is damaged"):
        await make_backup(lived.settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_each_byte_of_a_backup_counts(lived, tmp_path, keys):
    """A flipped bit anywhere, and an end that comes early or late."""
    backup, changed = tmp_path / "backup", tmp_path / "changed"
    await make_backup(lived.settings, backup)
    content = backup.read_bytes()
    places = [*range(0, len(content), len(content) // 25), len(content) - 1]
    images = [content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :] for at in places]
    images += [content[:at] for at in places] + [content + b"\n", b""]
    for image in images:
        changed.write_bytes(image)
        with pytest.raises((BadBackup, MalformedInput)):
            verify(lived.settings, changed)
    changed.write_bytes(images[7])
    target = Place(tmp_path / "target", keys)
    with pytest.raises((BadBackup, MalformedInput)):
        await restore_backup(target.settings, changed)
    assert not (target.folder / "ledger.sqlite").exists()


def rewritten(content, change):
    """The backup of what `change` makes of the records of this one: its last record is right, as a forger's is."""
    head, *records = read_backup(io.BytesIO(content).read)
    file = io.BytesIO()
    writer = BackupWriter(file.write, parse_head(head))
    for record in change(records):
        writer.add(record.kind, record.body)
    writer.end()
    return file.getvalue()


def without(kind, number):
    def change(records):
        found = [record for record in records if record.kind is kind]
        return [record for record in records if record is not found[number]]

    return change


def swapped(records):
    return [records[1], records[0], *records[2:]]


def twice(records):
    notes = [record for record in records if record.kind is Kind.CHECKPOINT]
    at = records.index(notes[-1])
    return [*records[:at], notes[-1], *records[at:]]


def with_noise(records):
    entries = [record for record in records if record.kind is Kind.ENTRY]
    at = records.index(entries[-1])
    return [*records[: at + 1], type(entries[0])(Kind.ENTRY, b"noise"), *records[at + 1 :]]


def without_cosignatures(records):
    """The log's own line is left in the newest note."""
    notes = [record for record in records if record.kind is Kind.CHECKPOINT]
    at = records.index(notes[-1])
    bare = notes[-1].body.rpartition(b"\xe2\x80\x94 witness0.test")[0]
    return [*records[:at], type(notes[0])(Kind.CHECKPOINT, bare), *records[at + 1 :]]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without(Kind.ENTRY, 1), "the root is another|has only|not those of its"),
        (without(Kind.ENTRY, -1), None),  # it is under no checkpoint yet: that it is missing, nobody can tell
        (swapped, "the entries of the backup are not those of its checkpoint of 1"),
        (twice, "not in their order"),
        (with_noise, "may not be logged"),
        (without_cosignatures, r"checkpoint\.witnesses: 0 of the 1"),
        (without(Kind.CHECKPOINT, -1), None),  # an older backup is a backup; witnesses tell
    ],
)
async def test_what_a_forger_changed_is_named(lived, tmp_path, change, found):
    backup = tmp_path / "backup"
    await make_backup(lived.settings, backup)
    backup.write_bytes(rewritten(backup.read_bytes(), change))
    if found is None:
        verify(lived.settings, backup)
        return
    with pytest.raises(BadBackup, match=found):
        verify(lived.settings, backup)


async def test_a_backup_of_another_log_is_refused(lived, tmp_path):
    await make_backup(lived.settings, tmp_path / "backup")
    stranger = make_keys() | {"log": SigningKey.generate()}
    with pytest.raises(BadBackup, match="the backup is of the log"):
        verify(Place(tmp_path / "other", stranger).settings, tmp_path / "backup")


def test_records_come_in_their_order():
    file = io.BytesIO()
    writer = BackupWriter(file.write, BackupHead(origin="log.test", key=bytes(32)))
    writer.add(Kind.BLOB, b"blob")
    writer.add(Kind.ENTRY, b"entry")
    writer.end()
    with pytest.raises(MalformedInput, match="not in their order"):
        list(read_backup(io.BytesIO(file.getvalue()).read))
