"""Signed notes and checkpoints, and a witness's conversation with a log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.vectors.ledger import Case, Wrong, verdict

from cloister.crypto.merkle import BadProof
from cloister.crypto.signing import BadSignature, check_signature
from cloister.errors import CloisterError, MalformedInput
from cloister.formats.add_checkpoint import parse_add_checkpoint
from cloister.formats.checkpoint import decode_base64, parse_checkpoint, parse_note, parse_vkey
from cloister.formats.constitution import Log
from cloister.ledger.witness_rules import NOTHING, SizeConflict, TreeHead, UnknownLog, advance, authenticate


def signed_notes(folder: Path) -> Iterator[Case]:
    """A file is one signed note with its key, or a list of checkpoint bodies."""
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, list):
            for number, body in enumerate(found):
                yield Case(f"{path.stem}/{number} {body['desc']}", partial(_body, body))
        else:
            yield Case(path.stem, partial(_note, found))


def conversations(folder: Path) -> Iterator[Case]:
    """Each file is a sequence of requests to one witness, each judged after all that came before it."""
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for number in range(len(found["requests"])):
            asked = found["requests"][number]
            yield Case(f"{path.stem}/{number} {asked['status']}", partial(_conversation, found, number))


def _body(case: dict[str, Any]) -> str:
    return verdict(
        lambda: parse_checkpoint(_with_whole_root(case["body"])), MalformedInput, accept=case["expect"] == "accept"
    )


def _with_whole_root(body: str) -> str:
    """The body with a root of 32 bytes in place of one that is well spelt: these cases do not mean its length."""
    lines = body.split("\n")
    try:
        decode_base64(lines[2])
    except (MalformedInput, IndexError):
        return body
    return "\n".join([*lines[:2], base64.b64encode(bytes(32)).decode(), *lines[3:]])


def _note(case: dict[str, Any]) -> str:
    return verdict(lambda: _signed(case), MalformedInput, BadSignature, accept=case["expect"] == "valid")


def _signed(case: dict[str, Any]) -> None:
    key, note = parse_vkey(case["vkey"]), parse_note(case["note"].encode())
    lines = [line for line in note.signatures if (line.name, line.key_id) == (key.name, key.id)]
    if not lines:
        raise BadSignature(f"not signed by {key.name}")
    for line in lines:
        check_signature(key.public, line.signature, note.text.encode())


def _conversation(case: dict[str, Any], last: int) -> str:
    key, remembered, found = bytes.fromhex(case["log_ed25519_public_key_hex"]), NOTHING, 0
    requests = case["requests"]
    origin = parse_checkpoint(parse_note(parse_add_checkpoint(requests[0]["request_body"].encode()).note).text).origin
    logs = {origin: Log(origin=origin, key=key)}
    for asked in requests[: last + 1]:
        found, remembered = _answered(asked["request_body"].encode(), logs, remembered)
    wanted = requests[last]["status"]
    if found == 404 and wanted == 403 and "unknown log" in requests[last]["assert"]:
        return "404, as tlog-witness has it now; 403 at the commit that this is from"
    if found != wanted:
        raise Wrong(f"answered with {found}, not with {wanted}")
    if found == 409 and requests[last]["assert"] != f'body == "{remembered.size}\\n"':
        raise Wrong(f"the size that is told is {remembered.size}")
    return str(found)


def _answered(body: bytes, logs: dict[str, Log], remembered: TreeHead) -> tuple[int, TreeHead]:
    try:
        return 200, advance(authenticate(parse_add_checkpoint(body), logs), remembered)
    except (UnknownLog, BadSignature, SizeConflict, BadProof, CloisterError) as error:
        return error.status, remembered


SETS = {"signed-note": signed_notes, "witness": conversations}
