"""The event log that a confidential VM tells in JSON: its firmware's events, then those that it extended itself.

A list of `{"imr", "event_type", "digest", "event", "event_payload"}`, `imr` 0 to 3 for RTMR0 to RTMR3; digests and
payloads in lower-case hex. Events of type 0x08000001 are of the running system: their digest is SHA-384 over the type
(4 bytes, little-endian), the name and the payload with a colon between each two, so that name and payload are proved
by it. Other events' payloads are hints. Nobody signs the log: `attest.replay` replays it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_RUNTIME_LOG: Final = 1024 * 1024  # bytes
MAXIMUM_RUNTIME_EVENTS: Final = 16384
RUNTIME_EVENT: Final = 0x08000001
RUNTIME_REGISTER: Final = 3  # RTMR3, which a running system extends by such events and by nothing else
REGISTERS: Final = 4
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """One event as the log has it."""

    imr: int  # 0 to 3
    type: int  # event_type
    digest: bytes  # as it stands there: its size is the replay's to judge
    name: str  # event
    payload: bytes  # event_payload


@dataclass(frozen=True, slots=True)
class RuntimeLog:
    """A whole log. Nothing in it is trusted yet."""

    events: tuple[RuntimeEvent, ...]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    imr: Annotated[int, msgspec.Meta(ge=0, lt=REGISTERS)]
    event_type: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    digest: Annotated[str, msgspec.Meta(max_length=128)]
    event: Annotated[str, msgspec.Meta(max_length=1024)]
    event_payload: str


def parse_runtime_log(data: bytes) -> RuntimeLog:
    """A log, at most 1 MiB and 16,384 events.

    Raises:
        TooLarge, MalformedInput: not such a log.
    """
    if len(data) > MAXIMUM_RUNTIME_LOG:
        raise TooLarge(f"an event log of {len(data)} bytes, the cap is {MAXIMUM_RUNTIME_LOG}")
    try:
        rows = msgspec.json.decode(data, type=list[_Row])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedInput(f"not an event log in JSON: {error}") from error
    if len(rows) > MAXIMUM_RUNTIME_EVENTS:
        raise TooLarge(f"an event log of more than {MAXIMUM_RUNTIME_EVENTS} events")
    return RuntimeLog(tuple(_event(row) for row in rows))


def lower_hex(text: str) -> bytes:
    """The bytes that lower-case hex digits say: one spelling for each.

    Raises:
        MalformedInput: anything else stands there.
    """
    if not _HEX.fullmatch(text):
        raise MalformedInput("not pairs of lower-case hex digits")
    return bytes.fromhex(text)


def _event(row: _Row) -> RuntimeEvent:
    return RuntimeEvent(row.imr, row.event_type, lower_hex(row.digest), row.event, lower_hex(row.event_payload))
