"""`/dev/sev-guest` as include/uapi/linux/sev-guest.h and its driver have it: structures by address, two error words."""

import ctypes
import errno
import hashlib
import struct
from dataclasses import dataclass, field

from tests.doubles.tee_reports import TABLE, snp_report
from tests.doubles.tsm_kernel import fault

GET_REPORT, GET_DERIVED_KEY, GET_EXTENDED = 0xC0205300, 0xC0205301, 0xC0205302


@dataclass
class SevGuestDevice:
    table: bytes | None = TABLE  # None: the host knows no extended requests
    level: int = 0  # the guest's own VMPL
    largest: int = 16384  # bytes of certificates that this kernel takes
    pages: int | None = None  # that the host says the table needs, where it is more than was asked for
    status: int = 0  # of MSG_REPORT_RSP
    size: int = 1184  # that it tells
    answers: object = snp_report
    faults: list[tuple[int, int, int]] = field(default_factory=list)  # errno, firmware's word, host's word
    asked: list[tuple[int, int]] = field(default_factory=list)  # request, bytes for certificates
    chip: bytes = b"chip"  # with the TCB that it reports: the root of derived keys
    launched: tuple[bytes, ...] = (b"policy", b"image", b"family", b"measurement")  # fields that a key can be mixed of
    derives: bytes | None = None  # what it derives in place of a key

    def ioctl(self, request, argument):
        version, at, response, error = struct.unpack("<B7xQQQ", argument)
        if request == GET_DERIVED_KEY:
            return self._derive(at, response, argument)
        if request not in (GET_REPORT, GET_EXTENDED):
            raise fault(errno.ENOTTY)
        if version == 0 or error != 0:
            raise fault(errno.EINVAL)
        data, level, reserved = struct.unpack("<64sI28s", ctypes.string_at(at, 96))
        address, room = struct.unpack("<QI", ctypes.string_at(at + 96, 12)) if request == GET_EXTENDED else (0, 0)
        self.asked.append((request, room))
        if self.faults:
            code, firmware, host = self.faults.pop(0)
            argument[24:32] = struct.pack("<II", firmware, host)
            raise fault(code)
        if any(reserved) or room > self.largest or room % 4096:
            raise fault(errno.EINVAL)
        if request == GET_EXTENDED:
            self._lay_out(address, room, at, argument)
        if level < self.level:
            argument[24:28] = struct.pack("<I", 0x16)
            raise fault(errno.EIO)
        report = self.answers(data, level)[0]  # type: ignore[operator]
        body = struct.pack("<II24x", self.status, self.size) + report
        ctypes.memmove(response, body.ljust(4000, b"\xee"), 4000)
        return 0

    def _derive(self, at, response, argument):
        """MSG_KEY_REQ: the key is of the root and of the launch's fields that are selected, in their order."""
        root, reserved, selected, level, _svn, _tcb = struct.unpack("<IIQIIQ", ctypes.string_at(at, 32))
        self.asked.append((GET_DERIVED_KEY, selected))
        if self.faults:
            code, firmware, host = self.faults.pop(0)
            argument[24:32] = struct.pack("<II", firmware, host)
            raise fault(code)
        if root > 6 or reserved or selected >= 64 or level < self.level:
            argument[24:28] = struct.pack("<I", 0x16)
            raise fault(errno.EIO)
        mixed = [field for bit, field in enumerate(self.launched) if selected >> bit & 1]
        key = hashlib.sha256(b"|".join([self.chip, *mixed])).digest() if self.derives is None else self.derives
        ctypes.memmove(response, struct.pack("<I28x32s", self.status, key), 64)
        return 0

    def _lay_out(self, address, room, at, argument):
        if self.table is None:
            argument[28:32] = struct.pack("<I", 0xFF)
            raise fault(errno.EIO)
        needed = len(self.table) if self.pages is None else self.pages * 4096
        if needed > room:
            argument[28:32] = struct.pack("<I", 1)
            ctypes.memmove(at + 104, struct.pack("<I", -(-needed // 4096) * 4096), 4)
            raise fault(errno.ENOSPC)
        ctypes.memmove(address, self.table, len(self.table))

    def close(self):
        pass
