"""Which TEE a machine is found to be, and what is said where it is none, or looks like two."""

import errno
from pathlib import Path

import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.nsm_device import NsmDevice
from tests.doubles.sev_guest_device import SevGuestDevice
from tests.doubles.tdx_guest_device import TdxGuestDevice
from tests.doubles.tee_reports import snp_report, td_quote
from tests.doubles.tpm_device import TpmDevice
from tests.doubles.tsm_kernel import TsmKernel
from tests.unit.tee.test_azure import INDEX, SNP_HCL

from cloister.tee.collectors.azure import AzureVm
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeUnavailable
from cloister.tee.collectors.configfs_tsm import ConfigfsTsm
from cloister.tee.collectors.detected import WAYS, open_collector
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nitro import NitroEnclave
from cloister.tee.collectors.sev_guest import SevGuest
from cloister.tee.collectors.tdx_guest import TdxGuest

AZURE = {"/dev/tpmrm0": lambda: TpmDevice(nv={INDEX: SNP_HCL})}
SEV = {"/dev/sev-guest": SevGuestDevice}
NITRO = {"/dev/nsm": NsmDevice}
TDX_DEVICE = {"/dev/tdx_guest": TdxGuestDevice}
OTHER_TPM = {"/dev/tpmrm0": TpmDevice}


def machine(devices, **changes):
    kernel = DeviceKernel(devices, **changes)
    waits: list[float] = []
    return Machine(calls=kernel, ioctl=kernel.ioctl, sleep=waits.append)


def snp():
    return TsmKernel(snp_report)


def tdx():
    return TsmKernel(td_quote, provider="tdx_guest")


@pytest.mark.parametrize(
    ("devices", "tsm", "kind", "platform"),
    [
        (SEV | OTHER_TPM, snp, ConfigfsTsm, "snp"),
        (TDX_DEVICE, tdx, ConfigfsTsm, "tdx"),
        (AZURE, None, AzureVm, "azure-snp"),
        (NITRO, None, NitroEnclave, "nitro"),
        (SEV, None, SevGuest, "snp"),
        (TDX_DEVICE, None, TdxGuest, "tdx"),
    ],
    ids=["configfs-snp", "configfs-tdx", "azure", "nitro", "sev-guest", "tdx-guest"],
)
def test_a_machine_is_found_to_be_what_it_is_by_the_first_way_to_its_evidence(devices, tsm, kind, platform):
    found = open_collector(machine(devices, tsm=tsm and tsm()))
    assert (type(found), found.platform) == (kind, platform)


def test_no_tee_is_told_with_all_that_was_looked_for():
    with pytest.raises(NoTee) as refused:
        open_collector(machine({}))
    said = str(refused.value).splitlines()
    assert said[0] == "no TEE was found here. Looked for:"
    assert [line.split(": ")[0] for line in said[1:4]] == [way.looks_for.split(": ")[0] for way in WAYS[:3]]
    assert len(said) == len(WAYS) + 1


def test_two_platforms_are_refused_unless_one_is_named():
    both = machine(NITRO | SEV)
    with pytest.raises(NoTee, match=r"more than one TEE \(.*nsm: nitro; /dev/sev-guest: snp\): name the one"):
        open_collector(both)
    assert open_collector(both, "snp").platform == "snp"
    assert open_collector(both, "nitro").platform == "nitro"


def test_a_platform_that_is_named_and_is_another_is_refused():
    with pytest.raises(NoTee, match="no way to evidence of tdx was found here"):
        open_collector(machine(SEV, tsm=snp()), "tdx")
    with pytest.raises(NoTee, match="no way to evidence of azure-tdx was found here"):
        open_collector(machine(AZURE), "azure-tdx")


def test_where_a_user_may_not_look_there_may_be_a_tee():
    with pytest.raises(TeeDenied, match=r"/dev/sev-guest: opening /dev/sev-guest: Permission denied. Only root"):
        open_collector(machine({}, denied=("/dev/sev-guest",)))


def test_where_configfs_is_roots_the_device_that_a_udev_rule_opens_is_taken():
    configfs = TsmKernel(snp_report, faults={("mkdir", ""): [errno.EACCES]})
    assert type(open_collector(machine(SEV, tsm=configfs))) is SevGuest


def test_what_does_not_serve_is_told_and_stands_in_the_way_of_nothing_else():
    failing = {"/dev/tpmrm0": lambda: TpmDevice(faults={0x169: [0x101] * 9})}
    with pytest.raises(TeeUnavailable, match="code 0x101"):
        open_collector(machine(failing))
    assert open_collector(machine(failing | SEV)).platform == "snp"


def test_everything_is_looked_for_below_the_root_that_is_given(tmp_path):
    with pytest.raises(NoTee):
        open_collector(Machine(root=Path(tmp_path)))
