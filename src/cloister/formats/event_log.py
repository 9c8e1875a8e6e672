"""Measured-boot event logs in the crypto-agile form (TCG PC Client Platform Firmware Profile 1.06, section 10).

One form serves TPMs (registers are PCRs) and TDX, where ACPI's table CCEL says how long the area is that firmware
reserved for it (registers are 0 for MRTD, 1 to 4 for RTMR0 to RTMR3; UEFI 2.10 section 38.4.1). Nobody signs a log:
what it says is worth nothing until `attest.replay` has replayed it into registers that were signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.byte_reader import ByteReader

MAXIMUM_LOG: Final = 1024 * 1024  # bytes, of an area too
MAXIMUM_EVENTS: Final = 16384
MAXIMUM_REGISTER: Final = 23  # PCRs 0 to 23
EV_NO_ACTION: Final = 0x03  # never extended
SHA1, SHA256, SHA384, SHA512 = 0x04, 0x0B, 0x0C, 0x0D  # TPM_ALG_ID (TCG Algorithm Registry table 3)
DIGEST_SIZES: Final = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64, 0x12: 32, 0x27: 32, 0x28: 48, 0x29: 64}
CCEL_SIZE: Final = 56  # bytes of the ACPI table
_SIGNATURE: Final = b"Spec ID Event03\0"
_LOCALITY: Final = b"StartupLocality\0"
_FILLERS: Final = (b"\xff", b"\0")  # what firmware leaves in the part of its area that it did not use


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """TCG_PCR_EVENT2 (section 10.2.2), as the log has it: neither its digests nor its data are trusted yet."""

    register: int  # pcrIndex; with TDX the index of the measurement register
    type: int  # eventType
    digests: dict[int, bytes]  # by algorithm, one for each of the log's
    data: bytes  # event


@dataclass(frozen=True, slots=True)
class EventLog:
    """A whole log. Nothing in it is trusted yet."""

    algorithms: tuple[int, ...]  # of the Spec ID event: the banks that it tells of
    events: tuple[LoggedEvent, ...]  # without the Spec ID event
    startup_locality: int  # the last byte that PCR 0 began with; 0 where nothing is said (section 10.4.5.3)


@dataclass(frozen=True, slots=True)
class Ccel:
    """ACPI's table of a confidential VM's event log (ACPI 6.5 section 5.2.35)."""

    cc_type: int  # 1: SEV, 2: TDX
    size: int  # LAML: bytes of the area


def parse_event_log(data: bytes) -> EventLog:
    """A log, at most 1 MiB, that ends with its last event.

    Raises:
        TooLarge, MalformedInput: not such a log.
    """
    return _parse(data, filled=False)


def parse_event_area(data: bytes) -> EventLog:
    """The log in an area of at most 1 MiB, whose unused rest is all 0xFF, or all 0, and nothing else.

    Raises:
        TooLarge, MalformedInput: not such an area.
    """
    return _parse(data, filled=True)


def parse_ccel(data: bytes) -> Ccel:
    """The table CCEL, 56 bytes.

    Raises:
        MalformedInput: not such a table.
    """
    read = ByteReader(data, "little")
    read.constant(b"CCEL" + CCEL_SIZE.to_bytes(4, "little"), "the table's signature and length")
    read.take(28, "the table's header")
    cc_type = read.integer(1, "CC Type")
    read.take(1, "CC Subtype")
    read.constant(bytes(2), "reserved")
    size = read.integer(8, "LAML")
    read.take(8, "LASA")
    read.end("the table")
    if sum(data) % 256:
        raise MalformedInput("the checksum of the table CCEL does not hold")
    return Ccel(cc_type, size)


def parse_ccel_log(table: bytes, area: bytes) -> EventLog:
    """The log of a confidential VM: its ACPI table and the whole area that the table tells of.

    Raises:
        TooLarge, MalformedInput: either is malformed, or they do not belong together.
    """
    size = parse_ccel(table).size
    if size != len(area):
        raise MalformedInput(f"the table CCEL tells of {size} bytes, the area has {len(area)}")
    return parse_event_area(area)


def _parse(data: bytes, *, filled: bool) -> EventLog:
    if len(data) > MAXIMUM_LOG:
        raise TooLarge(f"an event log of {len(data)} bytes, the cap is {MAXIMUM_LOG}")
    read = ByteReader(data, "little")
    algorithms = _spec_id(read)
    events: list[LoggedEvent] = []
    while read.left and not (filled and _is_filler(read)):
        if len(events) == MAXIMUM_EVENTS:
            raise TooLarge(f"an event log of more than {MAXIMUM_EVENTS} events")
        events.append(_event(read, algorithms))
    return EventLog(algorithms, tuple(events), _startup_locality(events))


def _spec_id(read: ByteReader) -> tuple[int, ...]:
    """The first event, TCG_EfiSpecIDEvent in the old form with a SHA-1 of zeros (section 10.4.5.1)."""
    if read.integer(4, "pcrIndex") > 1 or read.integer(4, "eventType") != EV_NO_ACTION:
        raise MalformedInput("an event log begins with a Spec ID event; older forms with SHA-1 alone are not taken")
    read.constant(bytes(20), "the Spec ID event's digest")
    event = ByteReader(read.take(read.integer(4, "eventSize"), "the Spec ID event"), "little")
    event.constant(_SIGNATURE, "the Spec ID event's signature")
    event.take(8, "platformClass, specVersion, uintnSize")
    count = event.integer(4, "numberOfAlgorithms")
    if not 1 <= count <= len(DIGEST_SIZES):
        raise MalformedInput(f"an event log of {count} algorithms")
    algorithms = tuple(_algorithm(event) for _ in range(count))
    event.take(event.integer(1, "vendorInfoSize"), "vendorInfo")
    event.end("the Spec ID event")
    if len(set(algorithms)) != count:
        raise MalformedInput("the Spec ID event names an algorithm twice")
    return algorithms


def _algorithm(event: ByteReader) -> int:
    algorithm, size = event.integer(2, "algorithmId"), event.integer(2, "digestSize")
    if DIGEST_SIZES.get(algorithm) != size:
        raise MalformedInput(f"the Spec ID event gives algorithm {algorithm:#06x} digests of {size} bytes")
    return algorithm


def _event(read: ByteReader, algorithms: tuple[int, ...]) -> LoggedEvent:
    register, kind = read.integer(4, "pcrIndex"), read.integer(4, "eventType")
    if register > MAXIMUM_REGISTER:
        raise MalformedInput(f"an event of register {register}, the highest is {MAXIMUM_REGISTER}")
    count = read.integer(4, "the number of digests")
    if count != len(algorithms):
        raise MalformedInput(f"an event has {count} digests, this log's have {len(algorithms)}")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        algorithm = read.integer(2, "hashAlg")
        if algorithm not in algorithms or algorithm in digests:
            raise MalformedInput(f"an event has a digest of algorithm {algorithm:#06x} that it should not have")
        digests[algorithm] = read.take(DIGEST_SIZES[algorithm], "a digest")
    return LoggedEvent(register, kind, digests, read.take(read.integer(4, "eventSize"), "an event's data"))


def _is_filler(read: ByteReader) -> bool:
    """Nothing but one filler; looked through only where no event can begin, so that the whole stays linear."""
    head = read.peek(12)
    return any(head == filler * len(head) and not read.rest().strip(filler) for filler in _FILLERS)


def _startup_locality(events: list[LoggedEvent]) -> int:
    """What the event StartupLocality says of PCR 0, which is said once, before PCR 0 is extended."""
    extended, said = False, None
    for event in events:
        if event.type == EV_NO_ACTION and event.data.startswith(_LOCALITY):
            if event.register or extended or said is not None or len(event.data) != len(_LOCALITY) + 1:
                raise MalformedInput("StartupLocality is said once, of PCR 0, before that is extended")
            said = event.data[-1]
        extended = extended or (event.register == 0 and event.type != EV_NO_ACTION)
    return said or 0
