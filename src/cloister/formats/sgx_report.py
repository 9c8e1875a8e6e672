"""The body of an SGX enclave's report: 384 bytes, of a quoting enclave or of an enclave that a quote is about.

Source: Intel SGX ECDSA Quote Library Reference, appendix A.4, "Enclave Report Body"; the names of what that table
leaves reserved are those of the SDM, table 37-21 (REPORT).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput

SIZE: Final = 384
_BODY: Final = struct.Struct("<16s I 12x 16s 16s 32s 32x 32s 32x 64s H H H 42x 16s 64s")
_DEBUG: Final = 1 << 1  # ATTRIBUTES.FLAGS, SDM table 37-3


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """What the processor reports about an enclave. Nothing in it is trusted yet."""

    cpu_svn: bytes  # CPUSVN, 16 bytes
    misc_select: int  # MISCSELECT, 32 bits
    isv_ext_prod_id: bytes  # 16 bytes
    attributes: bytes  # ATTRIBUTES: FLAGS and XFRM, 8 bytes each, little-endian
    mr_enclave: bytes  # MRENCLAVE, 32 bytes
    mr_signer: bytes  # MRSIGNER, 32 bytes
    config_id: bytes  # CONFIGID, 64 bytes
    isv_prod_id: int  # ISVPRODID
    isv_svn: int  # ISVSVN
    config_svn: int  # CONFIGSVN
    isv_family_id: bytes  # 16 bytes
    report_data: bytes  # REPORTDATA, 64 bytes

    @property
    def debug(self) -> bool:
        """Whether its owner may look into it."""
        return bool(int.from_bytes(self.attributes[:8], "little") & _DEBUG)


def parse_enclave_report(data: bytes) -> EnclaveReport:
    """The body of a report.

    Raises:
        MalformedInput: not 384 bytes.
    """
    if len(data) != SIZE:
        raise MalformedInput(f"an enclave report has {SIZE} bytes, not {len(data)}")
    return EnclaveReport(*_BODY.unpack(data))
