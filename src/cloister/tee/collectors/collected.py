"""The port: what every collector takes and gives. Nothing that is collected is trusted: `attest` judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.formats.endorsements import Endorsement

HardwarePlatform = Literal["snp", "tdx", "azure-snp", "azure-tdx", "nitro"]


class NoTee(Unavailable):
    """Nothing on this machine can make the evidence that was asked for; asking again changes nothing."""

    retry = False


class TeeUnavailable(Unavailable):
    """The TEE, or the host that answers for it, does not serve now; the same call may succeed later."""


class TeeFault(CloisterError):
    """The TEE refused for good, or answered what its interface does not allow; nothing of an answer was used."""


class TeeDenied(UsageError):
    """This user may not speak to the TEE."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A report as its platform's format has it, cut at the length that it declares."""

    report: bytes
    endorsements: tuple[Endorsement, ...] = ()  # that came with it, unasked and unchecked
    remarks: tuple[str, ...] = ()  # for a person: what was left out, and why


class Collector(Protocol):
    """One way to one platform's evidence."""

    @property
    def platform(self) -> HardwarePlatform:
        """Its name, as appraisal policies have it."""

    @property
    def room(self) -> Literal[32, 64]:
        """How many bytes of report data its evidence carries: `collect` takes exactly as many."""

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        """Fresh evidence that carries `report_data`; and `challenge`, 32 bytes, where there is a field for it.

        Blocks for as long as the hardware needs, seconds where the host is busy.

        Raises:
            NoTee, TeeUnavailable, TeeFault, TeeDenied: there is none, and why.
            ValueError: `report_data` is not `room` bytes.
        """


def require_room(report_data: bytes, room: int) -> None:
    """Hold that a caller filled the field: what it leaves free, nobody knows how to check.

    Raises:
        ValueError: it did not.
    """
    if len(report_data) != room:
        raise ValueError(f"report data of {len(report_data)} bytes; this platform's evidence carries {room}")
