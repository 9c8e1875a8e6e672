"""Event logs that are made up: crypto-agile ones for TPMs and TDX, and those in JSON of a running TD."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from cloister.attest.replay import runtime_digest
from cloister.formats.event_log import DIGEST_SIZES, EV_NO_ACTION, SHA256, SHA384, LoggedEvent
from cloister.formats.runtime_log import RUNTIME_EVENT, RuntimeEvent

_NAMES = {SHA256: "sha256", SHA384: "sha384"}


def firmware_event(register: int, data: bytes, *, kind: int = 0x80000008) -> LoggedEvent:
    """An event whose digests are those of its data, in both banks."""
    digests = {algorithm: hashlib.new(name, data).digest() for algorithm, name in _NAMES.items()}
    return LoggedEvent(register, kind, digests, data)


def encode_event_log(events: Sequence[LoggedEvent], *, algorithms: Sequence[int] = (SHA256, SHA384)) -> bytes:
    """A log of these events in these banks, with its Spec ID event."""
    sizes = b"".join(_little(one, 2) + _little(DIGEST_SIZES[one], 2) for one in algorithms)
    spec = b"Spec ID Event03\0" + bytes(4) + b"\0\2\0\2" + _little(len(algorithms), 4) + sizes + b"\0"
    head = bytes(4) + _little(EV_NO_ACTION, 4) + bytes(20) + _little(len(spec), 4) + spec
    return head + b"".join(_event(event, algorithms) for event in events)


def startup_locality(locality: int) -> LoggedEvent:
    """What says with which last byte PCR 0 began."""
    digests = {algorithm: bytes(DIGEST_SIZES[algorithm]) for algorithm in _NAMES}
    return LoggedEvent(0, EV_NO_ACTION, digests, b"StartupLocality\0" + bytes([locality]))


def encode_ccel(size: int, *, cc_type: int = 2) -> bytes:
    """The ACPI table of an area of `size` bytes."""
    table = bytearray(b"CCEL" + _little(56, 4) + bytes(28) + bytes([cc_type, 0, 0, 0]) + _little(size, 8) + bytes(8))
    table[9] = -sum(table) % 256
    return bytes(table)


def runtime_event(imr: int, name: str, payload: bytes) -> RuntimeEvent:
    """An event of a running system, with the digest that it extends."""
    digest = runtime_digest(RuntimeEvent(imr, RUNTIME_EVENT, b"", name, payload))
    return RuntimeEvent(imr, RUNTIME_EVENT, digest, name, payload)


def encode_runtime_log(events: Sequence[RuntimeEvent]) -> bytes:
    """A log in JSON."""
    rows = [
        {"imr": one.imr, "event_type": one.type, "digest": one.digest.hex()}
        | {"event": one.name, "event_payload": one.payload.hex()}
        for one in events
    ]
    return json.dumps(rows).encode()


def extended(digests: Sequence[bytes], *, begin: bytes, name: str = "sha384") -> bytes:
    """What a register holds that began with `begin` and was extended by each of these."""
    for digest in digests:
        begin = hashlib.new(name, begin + digest).digest()
    return begin


def _event(event: LoggedEvent, algorithms: Sequence[int]) -> bytes:
    digests = b"".join(_little(one, 2) + event.digests[one] for one in algorithms)
    head = _little(event.register, 4) + _little(event.type, 4) + _little(len(algorithms), 4)
    return head + digests + _little(len(event.data), 4) + event.data


def _little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")
