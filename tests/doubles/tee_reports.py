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
