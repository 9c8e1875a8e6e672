"""A key that SEV-SNP's secure processor derives for this guest on this chip, and for no other: to seal things with.

Source: include/uapi/linux/sev-guest.h, SNP_GET_DERIVED_KEY; AMD 56860, MSG_KEY_REQ and MSG_KEY_RSP (section 7.2).
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from cloister.secret import SecretBytes
from cloister.tee.collectors.collected import TeeFault
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.sev_guest import ABSENT, ADVICE, DEVICE, Declined, ask_firmware, own_level

GET_DERIVED_KEY: Final = 0xC0205301  # _IOWR('S', 1, struct snp_guest_request_ioctl)
_KEY_REQUEST: Final = struct.Struct("<I4xQIIQ")  # root_key_select, guest_field_select, vmpl, guest_svn, tcb_version
_KEY_RESPONSE: Final = struct.Struct("<I28x32s")  # status, the key
_VLEK_OR_VCEK: Final = 0  # the root: a key of this chip's (or its owner's fleet), at the TCB that it reports
_POLICY, _IMAGE, _FAMILY, _MEASUREMENT = 1, 2, 4, 8  # what is mixed in, bits of guest_field_select
_MIXED: Final = _POLICY | _IMAGE | _FAMILY | _MEASUREMENT


def derived_key(machine: Machine) -> SecretBytes:
    """32 bytes that only a guest of this launch measurement, policy, image and family gets, on this chip at this TCB.

    A guest that was launched otherwise, firmware that reports another TCB, and another chip all derive another key.

    Raises:
        NoTee, TeeDenied, TeeUnavailable: there is no device, or it does not serve.
        TeeFault: the secure processor derives none.
    """
    asked = _KEY_REQUEST.pack(_VLEK_OR_VCEK, _MIXED, own_level(machine), 0, 0)
    request = ctypes.create_string_buffer(asked, len(asked))
    with machine.device(DEVICE, absent=ABSENT, advice=ADVICE) as descriptor:
        try:
            answer = ask_firmware(machine, descriptor, GET_DERIVED_KEY, request, size=_KEY_RESPONSE.size)
        except Declined as declined:
            raise declined.explained("a derived key") from declined.error
    status, key = _KEY_RESPONSE.unpack(answer)
    if status:
        raise TeeFault(f"the secure processor derived no key: status {status:#x} (0x16: its parameters)")
    if not any(key):
        raise TeeFault("the secure processor derived a key of zeros: what is sealed with it, anyone could open")
    return SecretBytes(key)
