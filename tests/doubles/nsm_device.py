"""`/dev/nsm` as include/uapi/linux/nsm.h has it, and behind it a made-up Nitro Security Module."""

import ctypes
import errno
import struct
from dataclasses import dataclass, field
from typing import Any

import cbor2
from tests.doubles.tsm_kernel import fault

from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.world import NOON


@dataclass
class NsmDevice:
    nitro: MadeNitro = field(default_factory=lambda: MadeNitro(NOON))
    answer: Any = None  # in place of the module's
    changes: dict[str, Any] = field(default_factory=dict)  # of the document
    length: int | None = None  # that the kernel tells of an answer
    faults: list[int] = field(default_factory=list)

    def ioctl(self, request, argument):
        if request != 0xC0200A00:
            raise fault(errno.ENOTTY)
        if self.faults:
            raise fault(self.faults.pop(0))
        at, size, place, room = struct.unpack("<QQQQ", argument)
        if size > 0x1000 or room < 0x3000:
            raise fault(errno.EMSGSIZE)
        answer = cbor2.dumps(self._answer(cbor2.loads(ctypes.string_at(at, size))))
        ctypes.memmove(place, answer, len(answer))
        argument[24:32] = struct.pack("<Q", len(answer) if self.length is None else self.length)
        return 0

    def _answer(self, asked):
        if self.answer is not None:
            return self.answer
        ((name, arguments),) = asked.items()
        if name != "Attestation" or sorted(arguments) != ["nonce", "public_key", "user_data"]:
            return {"Error": "InvalidOperation"}
        if any(len(value) > 512 for value in arguments.values() if value is not None):
            return {"Error": "InputTooLarge"}
        return {"Attestation": {"document": self.nitro.document(**(arguments | self.changes))}}

    def close(self):
        pass
