"""Replays event logs into the registers that hardware signed: a log is believed as far as it explains all of them.

An extend is `register = H(register ‖ digest)` (TCG TPM 2.0 Library part 1 section 17.2; Intel TDX module specification,
TDG.MR.RTMR.EXTEND). An event's data is proved only where its digest is the hash of it; `AuthenticLog` has no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.errors import CloisterError
from cloister.formats.event_log import EV_NO_ACTION, SHA1, SHA256, SHA384, SHA512, EventLog
from cloister.formats.runtime_log import REGISTERS, RUNTIME_EVENT, RUNTIME_REGISTER, RuntimeEvent, RuntimeLog

_HASHES: Final = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
_RTMR_SIZE: Final = 48  # bytes: SHA-384
_DYNAMIC_PCRS: Final = range(17, 23)  # begin as ones until a dynamic launch resets them (PC Client PTP section 4.6)


class LogRefused(CloisterError):
    """An event log does not lead to the registers that were signed, or has an event that nothing measured."""

    exit_code = 3
    status = 403


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """An event whose data is what was measured. Its type is not here: of firmware's events nothing measured that."""

    register: int  # PCR, or 0 to 3 for RTMR0 to RTMR3
    name: str  # of a running system's event, in RTMR3; empty for firmware's
    data: bytes


@dataclass(frozen=True, slots=True)
class AuthenticLog:
    """What a log proves of the signed registers that it was held against. Built only here."""

    registers: dict[int, bytes]  # those that it explains, as signed
    events: tuple[ProvedEvent, ...]


def authenticate_rtmrs(log: EventLog | RuntimeLog, rtmrs: Sequence[bytes]) -> AuthenticLog:
    """Replay a TD's log, and hold it against the RTMRs of an authentic quote, always all four (48 bytes each).

    A log that is held against RTMR3 alone says nothing of what loaded whoever extended it.

    Raises:
        ValueError: not four RTMRs were given.
        LogRefused: which register the log does not lead to, or which event is none.
    """
    if len(rtmrs) != REGISTERS or any(len(one) != _RTMR_SIZE for one in rtmrs):
        raise ValueError("a TD has four RTMRs of 48 bytes")
    events = _runtime_events(log) if isinstance(log, RuntimeLog) else _firmware_events(log, SHA384, first=1)
    signed = dict(enumerate(rtmrs))
    _hold(_replay(events, dict.fromkeys(signed, bytes(_RTMR_SIZE)), "sha384"), signed, "RTMR")
    return AuthenticLog(signed, tuple(proved for _, _, proved in events if proved is not None))


def authenticate_pcrs(
    log: EventLog, pcrs: Mapping[int, bytes], *, algorithm: int, registers: Collection[int]
) -> AuthenticLog:
    """Replay a firmware's log, and hold it against those `registers` of an authentic TPM quote's PCRs.

    Args:
        log: with that bank.
        pcrs: the values that the TPM signed, of one bank.
        algorithm: the bank's TPM_ALG_ID; SHA-1 is refused, whose collisions would be two logs for one register.
        registers: which PCRs the log explains; the running system extends others, which no firmware's log tells of.

    Raises:
        ValueError: no register is named.
        LogRefused: which register the log does not lead to, or is not signed, or which event is none.
    """
    if not registers:
        raise ValueError("name the PCRs that the log is to explain")
    if algorithm == SHA1 or algorithm not in _HASHES:
        raise LogRefused(f"a bank of algorithm {algorithm:#06x} is not taken: use SHA-256, SHA-384 or SHA-512")
    events = [event for event in _firmware_events(log, algorithm, first=0) if event[0] in registers]
    unsigned = sorted(set(registers) - pcrs.keys())
    if unsigned:
        raise LogRefused(f"PCR {unsigned[0]} is not among those that the TPM signed")
    size = hashlib.new(_HASHES[algorithm]).digest_size
    begin = {register: _begin(register, log, size) for register in registers}
    signed = {register: pcrs[register] for register in sorted(registers)}
    _hold(_replay(events, begin, _HASHES[algorithm]), signed, "PCR")
    return AuthenticLog(signed, tuple(proved for _, _, proved in events if proved is not None))


_Extension = tuple[int, bytes, ProvedEvent | None]  # register, digest, and what it proves


def _firmware_events(log: EventLog, algorithm: int, *, first: int) -> list[_Extension]:
    if algorithm not in log.algorithms:
        raise LogRefused(f"the event log has no digests of algorithm {algorithm:#06x}")
    extensions: list[_Extension] = []
    for event in log.events:
        if event.type == EV_NO_ACTION:  # informs, is not extended (PFP section 10.4.1)
            continue
        register, digest = event.register - first, event.digests[algorithm]
        if register < 0:
            raise LogRefused("the event log has an event of MRTD, which nothing extends after the launch")
        _require_digest(digest, len(digest), f"an event of type {event.type:#x} in register {register}")
        proved = hashlib.new(_HASHES[algorithm], event.data).digest() == digest
        extensions.append((register, digest, ProvedEvent(register, "", event.data) if proved else None))
    return extensions


def _runtime_events(log: RuntimeLog) -> list[_Extension]:
    extensions: list[_Extension] = []
    for event in log.events:
        _require_digest(event.digest, _RTMR_SIZE, f"the event {event.name[:40]!r} in RTMR{event.imr}")
        extensions.append((event.imr, event.digest, _proved(event)))
    return extensions


def _proved(event: RuntimeEvent) -> ProvedEvent | None:
    """What the event's digest is of, by the one rule of its register.

    A log may call an event by another type: what firmware measured in RTMR0 to 2, such as a command line, could be told
    as a running system's event of the same digest. So the register says which rule holds, and not the type.
    """
    if event.imr != RUNTIME_REGISTER:
        measured = hashlib.sha384(event.payload).digest() == event.digest
        return ProvedEvent(event.imr, "", event.payload) if measured else None
    if event.type == RUNTIME_EVENT:
        if ":" in event.name:  # part of the name could then be told as the payload's beginning, under one digest
            raise LogRefused(f"the event {event.name[:40]!r} in RTMR{event.imr} has a colon in its name")
        if runtime_digest(event) != event.digest:
            raise LogRefused(f"the event {event.name[:40]!r} in RTMR{event.imr} is not what its digest measures")
        return ProvedEvent(event.imr, event.name, event.payload)
    return None


def runtime_digest(event: RuntimeEvent) -> bytes:
    """What a running system's event extends its RTMR by: 48 bytes."""
    return hashlib.sha384(event.type.to_bytes(4, "little") + b":" + event.name.encode() + b":" + event.payload).digest()


def _require_digest(digest: bytes, size: int, what: str) -> None:
    """An event without a digest would be shown beside those that are measured, and is measured by nothing."""
    if len(digest) != size or not any(digest):
        raise LogRefused(f"{what} has an empty digest, or one of another size: nothing measured it")


def _begin(register: int, log: EventLog, size: int) -> bytes:
    if register in _DYNAMIC_PCRS:
        return b"\xff" * size
    return bytes(size - 1) + bytes([log.startup_locality if register == 0 else 0])


def _replay(events: Iterable[_Extension], begin: Mapping[int, bytes], name: str) -> dict[int, bytes]:
    registers = dict(begin)
    for register, digest, _ in events:
        if register not in registers:
            raise LogRefused(f"the event log has an event of register {register}, which there is not")
        registers[register] = hashlib.new(name, registers[register] + digest).digest()
    return registers


def _hold(replayed: Mapping[int, bytes], signed: Mapping[int, bytes], kind: str) -> None:
    wrong = [f"{kind}{register}" for register, value in signed.items() if replayed[register] != value]
    if wrong:
        raise LogRefused(f"replaying the event log does not give the signed {', '.join(wrong)}")
