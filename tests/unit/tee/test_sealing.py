"""Keys to seal with: the same again for the same code on the same platform, and for nobody else."""

import errno

import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.sev_guest_device import GET_DERIVED_KEY, SevGuestDevice

from cloister.crypto.signing import SigningKey
from cloister.node.device import HardwareTee
from cloister.tee.collectors.collected import NoTee, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nitro import NitroEnclave
from cloister.tee.collectors.sev_derived_key import derived_key
from cloister.tee.collectors.sev_guest import SevGuest
from cloister.tee.software import SoftwareTee

LAUNCHED = (b"policy", b"image", b"family", b"measurement")
WORKLOAD = bytes(48)
BUSY = (errno.EIO, 0, 2)


def machine_with(device, waits=None):
    kernel = DeviceKernel({"/dev/sev-guest": lambda: device})
    return Machine(calls=kernel, ioctl=kernel.ioctl, sleep=[].append if waits is None else waits.append)


def hardware(device, *, workload=WORKLOAD):
    machine = machine_with(device)
    return HardwareTee(SevGuest(machine, 0), machine, workload, with_gpus=False)


def test_the_same_guest_on_the_same_chip_gets_the_same_key_again():
    first, second = (derived_key(machine_with(SevGuestDevice())) for _ in range(2))
    assert first == second
    assert len(first) == 32


@pytest.mark.parametrize("at", range(4), ids=["policy", "image", "family", "measurement"])
def test_a_guest_that_was_launched_otherwise_gets_another_key(at):
    other = (*LAUNCHED[:at], b"other", *LAUNCHED[at + 1 :])
    assert derived_key(machine_with(SevGuestDevice(launched=other))) != derived_key(machine_with(SevGuestDevice()))


def test_another_chip_or_tcb_derives_another_key():
    assert derived_key(machine_with(SevGuestDevice(chip=b"x"))) != derived_key(machine_with(SevGuestDevice()))


def test_a_host_that_throttles_is_waited_for():
    device = SevGuestDevice(faults=[BUSY])
    waits: list[float] = []
    assert len(derived_key(machine_with(device, waits))) == 32
    assert (waits, [code for code, _ in device.asked]) == ([0.5], [GET_DERIVED_KEY] * 2)


@pytest.mark.parametrize(
    ("device", "error", "says"),
    [
        (SevGuestDevice(level=1), TeeUnavailable, "for a derived key .firmware 0x16"),
        (SevGuestDevice(status=0x16), TeeFault, "status 0x16"),
        (SevGuestDevice(derives=bytes(32)), TeeFault, "anyone could open"),
        (SevGuestDevice(faults=[(errno.ENOTTY, 0, 0)]), TeeFault, "restart the guest"),
    ],
    ids=["level", "status", "zeros", "wiped"],
)
def test_where_there_is_no_key_it_is_said_why(device, error, says):
    with pytest.raises(error, match=says):
        derived_key(machine_with(device))


def test_a_machine_without_the_device_derives_none():
    kernel = DeviceKernel({})
    with pytest.raises(NoTee):
        derived_key(Machine(calls=kernel, ioctl=kernel.ioctl))


def test_snp_seals_by_its_derived_key_for_one_workload_and_one_purpose():
    key = hardware(SevGuestDevice()).sealing_key(b"purpose")
    assert key == hardware(SevGuestDevice()).sealing_key(b"purpose")
    assert key != hardware(SevGuestDevice()).sealing_key(b"another")
    assert key != hardware(SevGuestDevice(), workload=b"w" * 48).sealing_key(b"purpose")
    assert key != hardware(SevGuestDevice(chip=b"x")).sealing_key(b"purpose")


def test_a_platform_without_such_a_key_says_so():
    machine = Machine()
    tee = HardwareTee(NitroEnclave(machine), machine, WORKLOAD, with_gpus=False)
    assert tee.sealing_key(b"purpose") is None


def test_the_software_tee_seals_by_its_platform_key_for_one_workload_and_one_purpose():
    platform = SigningKey.generate()
    key = SoftwareTee(platform, WORKLOAD).sealing_key(b"purpose")
    assert key == SoftwareTee(platform, WORKLOAD).sealing_key(b"purpose")
    assert key != SoftwareTee(platform, WORKLOAD).sealing_key(b"another")
    assert key != SoftwareTee(platform, b"w" * 48).sealing_key(b"purpose")
    assert key != SoftwareTee(SigningKey.generate(), WORKLOAD).sealing_key(b"purpose")
