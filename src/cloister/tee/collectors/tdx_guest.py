"""TD quotes for kernels from 6.2 without configfs-tsm: a TDREPORT by `/dev/tdx_guest`, quoted by the host's service.

The TDREPORT by itself is never given out: its MAC is known to its own CPU alone, so that it looks like evidence and
anyone can write one.
Source: include/uapi/linux/tdx-guest.h, TDX_CMD_GET_REPORT0; Intel TDX module specification, TDG.MR.REPORT.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final, Literal

from cloister.formats.hcl_report import TD_REPORT_SIZE
from cloister.tee.collectors.collected import Collected, HardwarePlatform, TeeFault, require_room
from cloister.tee.collectors.machine import Machine, explained
from cloister.tee.collectors.quote_service import CONFIGURATION, port_in, quote_of
from cloister.tee.collectors.tdx_evidence import collected_tdx

DEVICE: Final = "dev/tdx_guest"
GET_REPORT: Final = 0xC4405401  # TDX_CMD_GET_REPORT0: _IOWR('T', 1, struct tdx_report_req)
_ROOM: Final = 64  # bytes of REPORTDATA
_REPORTDATA: Final = slice(128, 192)  # of a TDREPORT's REPORTMACSTRUCT
_ABSENT: Final = "not there (kernel 6.2 or later, module tdx-guest)"
_ADVICE: Final = {errno.EIO: "The TDX module refused: dmesg says with which code", errno.ENXIO: "This is no TD"}


@dataclass(frozen=True, slots=True)
class TdxGuest:
    """The collector of TD quotes where configfs-tsm is not; `open_tdx_guest` makes one."""

    machine: Machine
    platform: HardwarePlatform = "tdx"
    room: Literal[64] = 64

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the report has one field
        """As `Collector`."""
        require_room(report_data, self.room)
        td_report = self._td_report(report_data)
        port = port_in(self._configuration())
        return collected_tdx(quote_of(td_report, lambda: self.machine.host(port)), report_data)

    def _td_report(self, report_data: bytes) -> bytes:
        argument = bytearray(report_data + bytes(TD_REPORT_SIZE))
        with self.machine.device(DEVICE, absent=_ABSENT, advice=_ADVICE) as descriptor:
            try:
                self.machine.control(descriptor, GET_REPORT, argument)
            except OSError as error:
                raise explained(error, f"asking /{DEVICE} for a TDREPORT", _ADVICE) from error
        td_report = bytes(argument[_ROOM:])
        if td_report[_REPORTDATA] != report_data:
            raise TeeFault("the TDREPORT carries other report data than was asked for")
        return td_report

    def _configuration(self) -> bytes:
        try:
            return self.machine.read(CONFIGURATION, limit=4096)
        except OSError:
            return b""


def open_tdx_guest(machine: Machine) -> TdxGuest:
    """The collector, if the device is there.

    Raises:
        NoTee: it is not.
        TeeDenied, TeeUnavailable: it cannot be opened.
    """
    with machine.device(DEVICE, absent=_ABSENT, advice=_ADVICE):
        return TdxGuest(machine)
