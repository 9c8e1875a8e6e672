"""SEV-SNP reports by `/dev/sev-guest`, for kernels from 5.19 that have no configfs-tsm yet.

Source: include/uapi/linux/sev-guest.h; GHCB specification 2.03, section 4.1.8; AMD 56860, MSG_REPORT_RSP (table 25).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import CloisterError
from cloister.formats.snp_report import REPORT_SIZE
from cloister.tee.collectors.collected import (
    Collected,
    HardwarePlatform,
    TeeFault,
    require_room,
)
from cloister.tee.collectors.machine import Machine, explained
from cloister.tee.collectors.snp_evidence import collected_snp

DEVICE: Final = "dev/sev-guest"
OWN_LEVEL: Final = "sys/devices/system/cpu/sev/vmpl"  # from kernel 6.11
GET_REPORT: Final = 0xC0205300  # _IOWR('S', 0, struct snp_guest_request_ioctl)
GET_EXTENDED: Final = 0xC0205302  # _IOWR('S', 2, …)
_REQUEST: Final = struct.Struct("<B7xQQII")  # msg_version, req_data, resp_data, fw_error, vmm_error
_REPORT_REQUEST: Final = struct.Struct("<64sI28x")  # user_data, vmpl
_EXTENDED_REQUEST: Final = struct.Struct("<64sI28xQI4x")  # …, certs_address, certs_len
_RESPONSE: Final = struct.Struct("<II24x")  # MSG_REPORT_RSP: status, report_size; the report follows
_RESPONSE_SIZE: Final = 4000  # bytes: struct snp_report_resp
_PAGE: Final = 4096
_FIRST_TABLE: Final = 4 * _PAGE  # bytes: as much as the first kernels take
_MAXIMUM_TABLE: Final = 16 * _PAGE
_VMM_INVALID_LENGTH, _VMM_BUSY = 1, 2
_WAITS: Final = (0.5, 1.0, 2.0, 4.0)  # seconds between tries of a request that the host throttles
ABSENT: Final = "not there (kernel 5.19 or later, module sev-guest)"
ADVICE: Final = {
    errno.ENOTTY: "The kernel wiped the guest's key to the secure processor after a failed request: restart the guest",
    errno.ETIMEDOUT: "The host throttled the request for a minute: ask less often",
    errno.EAGAIN: "The host throttles requests: ask less often",
    errno.EBUSY: "The host throttles requests: ask less often",
}


class Declined(Exception):
    """An ioctl that failed, with what firmware and host said."""

    def __init__(self, error: OSError, firmware: int, host: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.firmware = firmware  # fw_error: AMD 56860, status codes
        self.host = host  # vmm_error

    @property
    def throttled(self) -> bool:
        """Whether the host asks for patience."""
        return self.host == _VMM_BUSY or self.error.errno in (errno.EAGAIN, errno.EBUSY)

    def explained(self, what: str = "a report") -> CloisterError:
        """What the kernel, the firmware and the host said, as a sentence that says what to do."""
        codes = f" (firmware {self.firmware:#x}, host {self.host:#x})" if self.firmware or self.host else ""
        return explained(self.error, f"asking /{DEVICE} for {what}{codes}", ADVICE)


@dataclass(frozen=True, slots=True)
class SevGuest:
    """The collector of SEV-SNP reports where configfs-tsm is not; `open_sev_guest` makes one."""

    machine: Machine
    privilege_level: int  # VMPL that the report is of: the guest's own, or less privileged
    platform: HardwarePlatform = "snp"
    room: Literal[64] = 64

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the report has one field
        """As `Collector`. A host that gives no certificates is no fault: the report is asked for without them."""
        require_room(report_data, self.room)
        with self.machine.device(DEVICE, absent=ABSENT, advice=ADVICE) as descriptor:
            try:
                report, table = self._extended(descriptor, report_data)
                remarks: tuple[str, ...] = ()
            except Declined as declined:
                report, table = self._plain(descriptor, report_data), b""
                remarks = (f"the host gave no certificates: {declined.explained()}",)
        collected = collected_snp(report, table, report_data)
        return Collected(collected.report, collected.endorsements, remarks + collected.remarks)

    def _extended(self, descriptor: int, report_data: bytes) -> tuple[bytes, bytes]:
        """The report and the host's table, in a buffer as large as the host says that it has to be.

        Raises:
            Declined: the ioctl failed.
        """
        size = _FIRST_TABLE
        while True:
            table = ctypes.create_string_buffer(size)
            asked = _EXTENDED_REQUEST.pack(report_data, self.privilege_level, ctypes.addressof(table), size)
            request = ctypes.create_string_buffer(asked, len(asked))
            try:
                return self._asked(descriptor, GET_EXTENDED, request), table.raw
            except Declined as declined:
                wanted = _EXTENDED_REQUEST.unpack(request.raw)[3]
                if declined.host != _VMM_INVALID_LENGTH or not size < wanted <= _MAXIMUM_TABLE or wanted % _PAGE:
                    raise
                size = wanted

    def _plain(self, descriptor: int, report_data: bytes) -> bytes:
        asked = _REPORT_REQUEST.pack(report_data, self.privilege_level)
        try:
            return self._asked(descriptor, GET_REPORT, ctypes.create_string_buffer(asked, len(asked)))
        except Declined as declined:
            raise declined.explained() from declined.error

    def _asked(self, descriptor: int, code: int, request: ctypes.Array[ctypes.c_char]) -> bytes:
        """The report that one request brings.

        Raises:
            Declined: the ioctl failed. TeeFault: what came is no answer.
        """
        return _report(ask_firmware(self.machine, descriptor, code, request, size=_RESPONSE_SIZE))


def ask_firmware(
    machine: Machine, descriptor: int, code: int, request: ctypes.Array[ctypes.c_char], *, size: int
) -> bytes:
    """The `size` bytes that the secure processor answers; asked again, the same, where the host throttles it.

    Raises:
        Declined: the ioctl failed.
    """
    response = ctypes.create_string_buffer(size)
    for wait in (*_WAITS, None):
        argument = bytearray(_REQUEST.pack(1, ctypes.addressof(request), ctypes.addressof(response), 0, 0))
        try:
            machine.control(descriptor, code, argument)
            break
        except OSError as error:
            declined = Declined(error, *_REQUEST.unpack(argument)[3:])
            if not declined.throttled or wait is None:
                raise declined from error
        machine.sleep(wait)
    return response.raw


def open_sev_guest(machine: Machine) -> SevGuest:
    """The collector, if the device is there.

    Raises:
        NoTee: it is not.
        TeeDenied, TeeUnavailable: it cannot be opened.
    """
    with machine.device(DEVICE, absent=ABSENT, advice=ADVICE):
        return SevGuest(machine, own_level(machine))


def own_level(machine: Machine) -> int:
    """The VMPL that the guest runs at: 0, unless the kernel says another."""
    try:
        said = machine.read(OWN_LEVEL, limit=_PAGE).strip()
    except OSError:
        return 0
    return int(said) if said in (b"0", b"1", b"2", b"3") else 0


def _report(response: bytes) -> bytes:
    """The report in a MSG_REPORT_RSP, as long as that says.

    Raises:
        TeeFault: it says that there is none.
    """
    status, size = _RESPONSE.unpack_from(response)
    if status:
        raise TeeFault(f"the secure processor made no report: status {status:#x} (0x16: its parameters, 0x27: its key)")
    if not REPORT_SIZE <= size <= len(response) - _RESPONSE.size:
        raise TeeFault(f"the secure processor speaks of a report of {size} bytes; one has {REPORT_SIZE}")
    return response[_RESPONSE.size : _RESPONSE.size + size]
