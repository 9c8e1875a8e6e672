"""What event logs say: of a TCG firmware (TPMs, and TDX by ACPI's table CCEL), and of a running confidential VM.

The words are those of the TCG PC Client Platform Firmware Profile 1.06, section 10.4.1, and of UEFI 2.10, section 38.
Nobody signs a log; what it explains of the registers that were signed is for `attest.replay` to find.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from cloister.cli.explained.intel import explain_quote
from cloister.cli.explained.page import Field, Page, Part, fields
from cloister.cli.explained.tpm import bank_name
from cloister.errors import MalformedInput
from cloister.formats.event_log import EventLog, LoggedEvent, parse_ccel, parse_event_area
from cloister.formats.runtime_log import RUNTIME_EVENT, RuntimeEvent, RuntimeLog, lower_hex, parse_runtime_log

_TYPES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0x01: ("EV_POST_CODE", "code of the firmware"),
        0x03: ("EV_NO_ACTION", "informs, and is not extended into any register"),
        0x04: ("EV_SEPARATOR", "ends a phase: what follows is of the next one"),
        0x05: ("EV_ACTION", "something that was done"),
        0x06: ("EV_EVENT_TAG", "an event with a tag of its own, as Linux writes"),
        0x07: ("EV_S_CRTM_CONTENTS", "the code that measures first"),
        0x08: ("EV_S_CRTM_VERSION", "the version of the code that measures first"),
        0x0A: ("EV_PLATFORM_CONFIG_FLAGS", "the platform's configuration"),
        0x0B: ("EV_TABLE_OF_DEVICES", "tables of devices"),
        0x0C: ("EV_COMPACT_HASH", "something hashed for another's sake"),
        0x0D: ("EV_IPL", "what a boot loader measured: commands, files, the kernel's command line"),
        0x0F: ("EV_NONHOST_CODE", "code that another processor runs"),
        0x10: ("EV_NONHOST_CONFIG", "configuration of another processor"),
        0x12: ("EV_OMIT_BOOT_DEVICE_EVENTS", "boot devices are not measured"),
        RUNTIME_EVENT: ("a running system's event", "the digest is over its type, name and payload"),
        0x80000001: ("EV_EFI_VARIABLE_DRIVER_CONFIG", "a variable that configures: Secure Boot's state and keys"),
        0x80000002: ("EV_EFI_VARIABLE_BOOT", "a variable that says what to boot"),
        0x80000003: ("EV_EFI_BOOT_SERVICES_APPLICATION", "a program that the firmware started: the boot loader"),
        0x80000004: ("EV_EFI_BOOT_SERVICES_DRIVER", "a driver that the firmware started"),
        0x80000005: ("EV_EFI_RUNTIME_SERVICES_DRIVER", "a driver that stays"),
        0x80000006: ("EV_EFI_GPT_EVENT", "the partition table"),
        0x80000007: ("EV_EFI_ACTION", "a step of the firmware's"),
        0x80000008: ("EV_EFI_PLATFORM_FIRMWARE_BLOB", "a part of the firmware"),
        0x80000009: ("EV_EFI_HANDOFF_TABLES", "tables that the firmware hands on"),
        0x8000000A: ("EV_EFI_PLATFORM_FIRMWARE_BLOB2", "a part of the firmware, described"),
        0x8000000B: ("EV_EFI_HANDOFF_TABLES2", "tables that the firmware hands on, described"),
        0x8000000C: ("EV_EFI_VARIABLE_BOOT2", "a variable that says what to boot"),
        0x800000E0: ("EV_EFI_VARIABLE_AUTHORITY", "the key by which Secure Boot let something start"),
    }
)
_CCEL: Final = MappingProxyType(
    {"cc_type": "CC Type: 1 is SEV, 2 is TDX.", "size": "LAML: bytes of the area in which the log is."}
)
_RECORD: Final = MappingProxyType(
    {
        "report_data": "REPORTDATA, as the agent says; the quote's own counts.",
        "vm_config": "The VM's configuration, as the agent says.",
    }
)


class _Record(msgspec.Struct, frozen=True):
    """What a guest's agent (dstack's) answers: a quote with the log that explains it; further members are hints."""

    quote: str
    event_log: Annotated[str, msgspec.Meta(min_length=1)]
    report_data: str = ""
    vm_config: str = ""


def explain_event_log(data: bytes) -> Page:
    """A firmware's log, also in an area that is longer.

    Raises:
        TooLarge, MalformedInput: not such a log.
    """
    return Page(
        format="event-log", title="TCG event log of a measured boot", parts=(_firmware(parse_event_area(data)),)
    )


def explain_ccel(data: bytes) -> Page:
    """ACPI's table CCEL.

    Raises:
        MalformedInput: not that table.
    """
    table = parse_ccel(data)
    told = fields({"cc_type": table.cc_type, "size": table.size}, _CCEL)
    part = Part(name="ccel", title="Where a confidential VM's event log is", signed_by=None, fields=told)
    return Page(format="ccel-table", title="ACPI table CCEL", parts=(part,))


def explain_runtime_log(data: bytes) -> Page:
    """A confidential VM's log in JSON.

    Raises:
        TooLarge, MalformedInput: not such a log.
    """
    return Page(
        format="runtime-log", title="Event log of a confidential VM", parts=(_runtime(parse_runtime_log(data)),)
    )


def explain_quote_record(data: bytes) -> Page:
    """A quote with its log, as a guest's agent answers them in JSON.

    Raises:
        TooLarge, MalformedInput: not such a record.
    """
    try:
        record = msgspec.json.decode(data, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not a quote with its event log: {error}") from error
    quote = explain_quote(lower_hex(record.quote))
    told = fields({"report_data": record.report_data, "vm_config": record.vm_config}, _RECORD)
    agent = Part(name="agent", title="What the guest's agent says", signed_by=None, fields=told)
    log = _runtime(parse_runtime_log(record.event_log.encode()))
    return Page(format="quote-record", title=f"{quote.title}, with its event log", parts=(*quote.parts, log, agent))


def _firmware(log: EventLog) -> Part:
    told = tuple(one for at, event in enumerate(log.events) for one in _event(at, event))
    return Part(name="event_log", title=_TITLE, signed_by=None, fields=told)


_TITLE: Final = "Events, as the log has them: a quote's registers prove those that they replay into"


def _runtime(log: RuntimeLog) -> Part:
    told = tuple(one for at, event in enumerate(log.events) for one in _runtime_event(at, event))
    return Part(name="event_log", title=_TITLE, signed_by=None, fields=told)


def _event(at: int, event: LoggedEvent) -> tuple[Field, ...]:
    name, says = _named(event.type)
    first = Field(
        name=f"events.{at}",
        value=f"register {event.register}, {name}: {_shown(event.data)}",
        says=f"{says[:1].upper()}{says[1:]}.",
    )
    digests = tuple(
        Field(
            name=f"events.{at}.{bank_name(bank)}",
            value=digest.hex(),
            says=f"What the {bank_name(bank)} register {event.register} was extended by.",
        )
        for bank, digest in event.digests.items()
    )
    return first, *digests


def _runtime_event(at: int, event: RuntimeEvent) -> tuple[Field, ...]:
    name, says = _named(event.type)
    value = f"RTMR{event.imr}, {name}: {event.name or 'no name'} {_shown(event.payload)}"
    digest = f"What RTMR{event.imr} was extended by."
    return (
        Field(name=f"events.{at}", value=value, says=f"{says[:1].upper()}{says[1:]}."),
        Field(name=f"events.{at}.sha384", value=event.digest.hex(), says=digest),
    )


def _named(kind: int) -> tuple[str, str]:
    return _TYPES.get(kind, (f"type {kind:#x}", "of a type that the profile does not name"))


def _shown(data: bytes) -> str:
    """The text in an event's data, or how long it is."""
    plain = data.rstrip(b"\0")
    if plain and all(0x20 <= byte < 0x7F for byte in plain) and len(plain) <= 200:
        return repr(plain.decode("ascii"))
    wide = data.decode("utf-16-le", errors="replace").rstrip("\0")
    if wide.isascii() and wide.isprintable() and 0 < len(wide) <= 200:
        return repr(wide)
    return f"{len(data)} bytes"
