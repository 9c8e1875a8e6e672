"""What made-up hardware answers a kernel: SEV-SNP reports beside certificates, TD quotes in long buffers."""

from dataclasses import replace

from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VCEK
from cloister.testing.snp_hardware import SnpHardware, certificate_table
from cloister.testing.tdx_hardware import TD, TdxHardware
from cloister.testing.world import NOON

CHIP = SnpHardware()
TDX = TdxHardware(at=NOON)
ENDORSED = CHIP.endorsements()
CHAIN = ENDORSED.chain
TABLE = certificate_table(dict(zip((VCEK, ASK, ARK, CRL), (*CHAIN, ENDORSED.revocations[0]), strict=True)))


def snp_report(inblob, privlevel=0):
    """A report at a VMPL, and the host's table."""
    return CHIP.sign(replace(CHIP.report(), report_data=inblob, vmpl=privlevel)), TABLE


def td_quote(inblob, _=0):
    """A quote with the rest of its buffer behind it, and no table."""
    return TDX.quote(replace(TD, report_data=inblob)) + bytes(3000), b""


def td_report(td):
    """A TDREPORT as its CPU makes one, as far as anyone reads it."""
    numbers = td.td_attributes.to_bytes(8, "little") + td.xfam.to_bytes(8, "little")
    owners = td.mr_td + td.mr_config_id + td.mr_owner + td.mr_owner_config
    head = b"\x81\0".ljust(128, b"\0")
    return (head + td.report_data.ljust(384, b"\0") + numbers + owners + b"".join(td.rtmrs)).ljust(1024, b"\0")
