"""An AWS Nitro enclave: its security module signs a document that carries what is asked, and the enclave's PCRs.

Source: include/uapi/linux/nsm.h (Linux 6.8; AWS's own driver before has the same interface).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nsm_message import (
    MAXIMUM_ANSWER,
    NsmError,
    encode_attestation_request,
    parse_attestation_answer,
)
from cloister.tee.collectors.collected import (
    Collected,
    HardwarePlatform,
    TeeFault,
    TeeUnavailable,
    require_room,
)
from cloister.tee.collectors.machine import Machine, explained

DEVICE: Final = "dev/nsm"
RAW: Final = 0xC0200A00  # NSM_IOCTL_RAW: _IOWR(0x0A, 0, struct nsm_raw)
_RAW: Final = struct.Struct("<QQQQ")  # request's address and length, response's address and length
_ABSENT: Final = "not there (of an enclave, not of the instance that started it; kernel 6.8, module nsm)"
_ADVICE: Final = {
    errno.EAGAIN: "The module is busy: ask again",
    errno.EBUSY: "The module is busy: ask again",
    errno.ETIMEDOUT: "The module did not answer: ask again",
}


@dataclass(frozen=True, slots=True)
class NitroEnclave:
    """The collector of Nitro documents; `open_nitro` makes one."""

    machine: Machine
    platform: HardwarePlatform = "nitro"
    room: Literal[64] = 64

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        """As `Collector`: `report_data` goes into the document's user data, `challenge` into its nonce."""
        require_room(report_data, self.room)
        answer = self._answer(encode_attestation_request(user_data=report_data, nonce=challenge))
        try:
            document = parse_attestation_answer(answer)
            parsed = parse_nitro_document(document).document
        except NsmError as error:
            raise TeeUnavailable(f"{error}: no document was made") from error
        except (MalformedInput, TooLarge) as error:
            raise TeeFault(f"the Nitro Security Module's answer holds no document: {error}") from error
        if (parsed.user_data, parsed.nonce) != (report_data, challenge):
            raise TeeFault("the Nitro document carries other user data or another nonce than was asked for")
        return Collected(document)

    def _answer(self, message: bytes) -> bytes:
        request = ctypes.create_string_buffer(message, len(message))
        response = ctypes.create_string_buffer(MAXIMUM_ANSWER)
        places = (ctypes.addressof(request), len(message), ctypes.addressof(response), MAXIMUM_ANSWER)
        argument = bytearray(_RAW.pack(*places))
        with self.machine.device(DEVICE, absent=_ABSENT, advice=_ADVICE) as descriptor:
            try:
                self.machine.control(descriptor, RAW, argument)
            except OSError as error:
                raise explained(error, f"asking /{DEVICE} for a document", _ADVICE) from error
        length = _RAW.unpack(argument)[3]
        if length > MAXIMUM_ANSWER:
            raise TeeFault(f"the kernel speaks of an answer of {length} bytes in a buffer of {MAXIMUM_ANSWER}")
        return response.raw[:length]


def open_nitro(machine: Machine) -> NitroEnclave:
    """The collector, if the device is there.

    Raises:
        NoTee: it is not.
        TeeDenied, TeeUnavailable: it cannot be opened.
    """
    with machine.device(DEVICE, absent=_ABSENT, advice=_ADVICE):
        return NitroEnclave(machine)
