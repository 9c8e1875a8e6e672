"""What a TDX quote says about a trust domain: the TD report 1.0 (584 bytes) or 1.5 (648 bytes).

Source: Intel TDX DCAP Quoting Library API, appendix A.3, "TD Quote Body" (1.0 and 1.5); the bits of ATTRIBUTES are
those of the Intel TDX Module ABI Reference, "ATTRIBUTES (TD Attributes)".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from cloister.errors import MalformedInput

SIZE_1_0: Final = 584
SIZE_1_5: Final = 648
UNDER_DEBUG: Final = 0xFF  # the group TUD of ATTRIBUTES: a TD with any bit of it set cannot be trusted
_BODY: Final = struct.Struct("<16s 48s 48s Q Q Q 48s 48s 48s 48s 48s 48s 48s 48s 64s")
_ADDED: Final = struct.Struct("<16s 48s")  # by 1.5


class TdAttributes(IntFlag):
    """The bits of TD ATTRIBUTES that have a name; others are reserved, and zero."""

    DEBUG = 1 << 0
    HGS_PLUS_PROF = 1 << 4
    PERF_PROF = 1 << 5
    PMT_PROF = 1 << 6
    ICSSD = 1 << 16
    LASS = 1 << 27
    SEPT_VE_DISABLE = 1 << 28
    MIGRATABLE = 1 << 29
    PKS = 1 << 30
    KL = 1 << 31
    TPA = 1 << 62
    PERFMON = 1 << 63


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module reports about a trust domain. Nothing in it is trusted yet."""

    tee_tcb_svn: bytes  # TEE_TCB_SVN, 16 bytes: of the TDX module that launched the TD
    mr_seam: bytes  # MRSEAM, 48 bytes: the TDX module's measurement
    mr_signer_seam: bytes  # MRSIGNERSEAM, 48 bytes: zero for a module of Intel's
    seam_attributes: int  # SEAMATTRIBUTES, 64 bits
    td_attributes: TdAttributes  # TDATTRIBUTES, 64 bits
    xfam: int  # XFAM, 64 bits
    mr_td: bytes  # MRTD, 48 bytes: the TD as it was built
    mr_config_id: bytes  # MRCONFIGID, 48 bytes
    mr_owner: bytes  # MROWNER, 48 bytes
    mr_owner_config: bytes  # MROWNERCONFIG, 48 bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]  # RTMR0 to RTMR3, 48 bytes each
    report_data: bytes  # REPORTDATA, 64 bytes
    tee_tcb_svn_2: bytes | None  # TEE_TCB_SVN_2, 16 bytes: of the module that runs now; a report 1.0 does not say
    mr_service_td: bytes | None  # MRSERVICETD, 48 bytes: of the service TDs bound; a report 1.0 does not say


def parse_td_report(data: bytes) -> TdReport:
    """The body of a TDX quote.

    Raises:
        MalformedInput: neither 584 nor 648 bytes.
    """
    if len(data) not in (SIZE_1_0, SIZE_1_5):
        raise MalformedInput(f"a TD report in a quote has {SIZE_1_0} or {SIZE_1_5} bytes, not {len(data)}")
    svn, seam, signer, seam_attributes, attributes, xfam, *rest = _BODY.unpack_from(data)
    mr_td, config_id, owner, owner_config = rest[:4]
    one, two, three, four = rest[4:8]
    added = _ADDED.unpack_from(data, SIZE_1_0) if len(data) == SIZE_1_5 else (None, None)
    return TdReport(
        tee_tcb_svn=svn,
        mr_seam=seam,
        mr_signer_seam=signer,
        seam_attributes=seam_attributes,
        td_attributes=TdAttributes(attributes),
        xfam=xfam,
        mr_td=mr_td,
        mr_config_id=config_id,
        mr_owner=owner,
        mr_owner_config=owner_config,
        rtmrs=(one, two, three, four),
        report_data=rest[8],
        tee_tcb_svn_2=added[0],
        mr_service_td=added[1],
    )
