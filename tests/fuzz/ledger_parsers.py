"""What the log, its witnesses and those who ask them write."""

from __future__ import annotations

import io

from tests.fuzz.target import Targets

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.add_checkpoint import AddCheckpoint, parse_add_checkpoint
from cloister.formats.checkpoint import (
    ED25519,
    Checkpoint,
    format_vkey,
    parse_signature_lines,
    parse_vkey,
)
from cloister.formats.cose_receipt import parse_receipt
from cloister.formats.foreign_cose import parse_foreign_sign1
from cloister.formats.ledger_backup import BackupHead, BackupWriter, Kind, read_backup
from cloister.formats.ledger_batch import AppendedBatch, RefusedEntry, parse_batch, parse_batch_answers
from cloister.formats.ledger_messages import Appended, encode_list, parse_appended, parse_entries, parse_path
from cloister.formats.tile import Tile, encode_entry_bundle, parse_entry_bundle, parse_tile_path
from cloister.formats.tlog_proof import TlogProof, parse_tlog_proof
from cloister.ledger.receipts import sign_consistency, sign_inclusion


def ledger_targets(note: bytes) -> Targets:
    """The parsers between log, witnesses and those who ask them."""
    path, key, head = (bytes(32),) * 3, SigningKey.generate(), Checkpoint("log.test", 7, bytes(32))
    lines = note.partition(b"\n\n")[2]
    vkey = format_vkey("log.test", bytes(32), kind=ED25519)
    refused = RefusedEntry(position=1, reason="malformed", detail="is none")
    return {
        "add_checkpoint": (parse_add_checkpoint, [AddCheckpoint(3, path, note).encode()]),
        "signature_lines": (parse_signature_lines, [lines]),
        "vkey": (lambda data: parse_vkey(data.decode("latin-1")), [vkey.encode()]),
        "receipt": (parse_receipt, [sign_inclusion(key, head, 2, path), sign_consistency(key, head, 3, path)]),
        "appended": (parse_appended, [canonical.encode(Appended(index=7, checkpoint=note, path=path))]),
        "backup": (lambda data: [*read_backup(io.BytesIO(data).read)], [_backup()]),
        "batch": (parse_batch, [encode_list([b"one", b"two"])]),
        "batch_answers": (
            lambda data: parse_batch_answers(data, number=2),
            [canonical.encode(AppendedBatch(checkpoint=note, indices=(7,), paths=(path,), refused=(refused,)))],
        ),
        "entries": (parse_entries, [encode_list([b"one", b"two"])]),
        "path": (parse_path, [encode_list(path)]),
        "tile_path": (lambda data: parse_tile_path(data.decode("latin-1")), [b"tile/entries/x001/234.p/255"]),
        "foreign_sign1": (
            lambda data: parse_foreign_sign1(data, limit=65_535),
            [sign1(key, b"payload", content_type="text/plain"), sign_inclusion(key, head, 2, path)],
        ),
        "tlog_proof": (parse_tlog_proof, [TlogProof(3, path, note, extra).encode() for extra in (None, b"extra")]),
        "entry_bundle": (
            lambda data: parse_entry_bundle(data, Tile(0, 0, 2)),
            [encode_entry_bundle([b"one", b"two"])],
        ),
    }


def _backup() -> bytes:
    file = io.BytesIO()
    writer = BackupWriter(file.write, BackupHead(origin="log.test", key=bytes(32)))
    for kind, body in ((Kind.ENTRY, b"entry"), (Kind.CHECKPOINT, b"note"), (Kind.BLOB, b"blob")):
        writer.add(kind, body)
    writer.end()
    return file.getvalue()
