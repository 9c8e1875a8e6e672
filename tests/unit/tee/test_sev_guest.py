"""SEV-SNP reports by /dev/sev-guest, by way of a device that keeps the driver's rules."""

import errno

import pytest
from tests.doubles.device_kernel import DeviceKernel, Told
from tests.doubles.sev_guest_device import GET_EXTENDED, GET_REPORT, SevGuestDevice
from tests.doubles.tee_reports import CHIP, snp_report

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.sev_guest import SevGuest, open_sev_guest
from cloister.testing.world import NOON

DATA, CHALLENGE = bytes(range(64)), b"c" * 32
BUSY = (errno.EIO, 0, 2)


def machine_with(device, waits=None, **changes):
    kernel = DeviceKernel({"/dev/sev-guest": lambda: device}, **changes)
    return Machine(calls=kernel, ioctl=kernel.ioctl, sleep=[].append if waits is None else waits.append)


def collected(device, waits=None):
    return open_sev_guest(machine_with(device, waits)).collect(DATA, challenge=CHALLENGE)


def test_a_report_and_the_hosts_certificates_are_accepted_by_the_examination_of_snp():
    device = SevGuestDevice()
    found = collected(device)
    *certificates, revocations = [one.data for one in found.endorsements]
    endorsements = SnpEndorsements(tuple(certificates), (revocations,))
    examined = examine_snp(found.report, endorsements, roots=CHIP.roots, at=NOON, unsafe=(), seen=SEEN_NOTHING)
    assert examined.require().report.report_data == DATA
    assert (device.asked, found.remarks) == ([(GET_EXTENDED, 16384)], ())


def test_a_host_that_needs_more_room_for_certificates_gets_it():
    device = SevGuestDevice(pages=5, largest=65536)
    assert len(collected(device).endorsements) == 4
    assert device.asked == [(GET_EXTENDED, 16384), (GET_EXTENDED, 20480)]


@pytest.mark.parametrize(
    "device",
    [
        SevGuestDevice(pages=5),
        SevGuestDevice(pages=17, largest=1 << 20),
        SevGuestDevice(table=None),
        SevGuestDevice(faults=[(errno.ENOTTY, 0, 0)]),
    ],
    ids=["kernel", "host", "unsupported", "old"],
)
def test_where_certificates_cannot_be_had_the_report_comes_without_them(device):
    found = collected(device)
    assert (found.report[80:144], found.endorsements) == (DATA, ())
    assert found.remarks[0].startswith("the host gave no certificates: asking /dev/sev-guest for a report")
    assert device.asked[-1] == (GET_REPORT, 0)


@pytest.mark.parametrize("busy", [BUSY, (errno.EAGAIN, 0, 0), (errno.EBUSY, 0, 0)], ids=["host", "again", "busy"])
def test_a_host_that_throttles_is_waited_for(busy):
    waits: list[float] = []
    assert collected(SevGuestDevice(faults=[busy, busy]), waits).report[80:144] == DATA
    assert waits == [0.5, 1.0]


def test_a_host_that_throttles_without_end_is_given_up():
    waits: list[float] = []
    with pytest.raises(TeeUnavailable, match="firmware 0x0, host 0x2"):
        collected(SevGuestDevice(faults=[BUSY] * 20), waits)
    assert waits == [0.5, 1.0, 2.0, 4.0] * 2


def test_signals_interrupt_nothing():
    assert collected(SevGuestDevice(faults=[(errno.EINTR, 0, 0)] * 3)).report[80:144] == DATA


def test_the_guests_own_level_is_asked_for_where_the_kernel_tells_it():
    kernel = DeviceKernel({"/dev/sev-guest": lambda: SevGuestDevice(level=2), "/" + LEVEL: lambda: Told(b"2\n")})
    found = open_sev_guest(Machine(calls=kernel, ioctl=kernel.ioctl)).collect(DATA, challenge=CHALLENGE)
    assert found.report[48] == 2


LEVEL = "sys/devices/system/cpu/sev/vmpl"


def test_a_level_above_the_guests_own_is_refused_with_the_firmwares_code():
    device = SevGuestDevice(level=2)
    with pytest.raises(TeeUnavailable, match="firmware 0x16, host 0x0"):
        SevGuest(machine_with(device), 0).collect(DATA, challenge=CHALLENGE)


@pytest.mark.parametrize(
    ("device", "named"),
    [
        (SevGuestDevice(status=0x16), "status 0x16"),
        (SevGuestDevice(size=0), "a report of 0 bytes"),
        (SevGuestDevice(size=4000), "a report of 4000 bytes"),
        (SevGuestDevice(answers=lambda *_: (bytes(1184), b"")), "no SEV-SNP report"),
        (SevGuestDevice(answers=lambda *_: snp_report(bytes(64))), "it answers somebody else"),
    ],
    ids=["status", "empty", "large", "nonsense", "foreign"],
)
def test_what_is_no_report_is_refused(device, named):
    with pytest.raises(TeeFault, match=named):
        collected(device)


def test_a_report_is_cut_where_it_ends_and_not_where_the_response_does():
    assert len(collected(SevGuestDevice(size=3000)).report) == 1184


def test_a_wiped_key_is_said_with_what_to_do():
    with pytest.raises(TeeFault, match="restart the guest"):
        collected(SevGuestDevice(faults=[(errno.ENOTTY, 0, 0)] * 2))


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_anything_but_64_bytes_is_a_callers_mistake(size):
    device = SevGuestDevice()
    with pytest.raises(ValueError, match="carries 64"):
        open_sev_guest(machine_with(device)).collect(bytes(size), challenge=CHALLENGE)
    assert device.asked == []


def test_a_machine_without_the_device_is_none_and_a_user_without_rights_is_told():
    with pytest.raises(NoTee, match="module sev-guest"):
        open_sev_guest(Machine(calls=DeviceKernel()))
    with pytest.raises(TeeDenied, match="Only root"):
        open_sev_guest(machine_with(SevGuestDevice(), denied=("/dev/sev-guest",)))


def test_the_table_is_the_hosts_word_and_may_be_nonsense():
    found = collected(SevGuestDevice(table=b"\1" * 48))
    assert (found.endorsements, len(found.remarks)) == ((), 1)
