"""TD quotes by /dev/tdx_guest and the host's quote generation service; and that a TDREPORT alone is never evidence."""

import errno
from dataclasses import replace

import pytest
from tests.doubles.device_kernel import DeviceKernel, Told
from tests.doubles.tdx_guest_device import TdxGuestDevice, answer, quote_service, quoted
from tests.doubles.tee_reports import TDX

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.tdx.authentic import examine_tdx
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.quote_service import connect_vsock, quote_of
from cloister.tee.collectors.tdx_guest import open_tdx_guest
from cloister.testing.tdx_hardware import TD, td_report
from cloister.testing.world import NOON

DATA, CHALLENGE = bytes(range(64)), b"c" * 32


def machine_with(device, host, files=None, **changes):
    devices = {"/dev/tdx_guest": lambda: device} | (files or {})
    kernel = DeviceKernel(devices, **changes)
    return Machine(calls=kernel, ioctl=kernel.ioctl, host=host)


def collected(device=None, answers=quoted, files=None):
    with quote_service(answers) as (host, _):
        machine = machine_with(device or TdxGuestDevice(), host, files)
        return open_tdx_guest(machine).collect(DATA, challenge=CHALLENGE)


def test_a_quote_is_cut_out_of_a_longer_buffer_and_accepted_by_the_examination_of_tdx():
    found = collected()
    examined = examine_tdx(found.report, TDX.collateral(), roots=TDX.roots, at=NOON, seen=SEEN_NOTHING)
    assert (examined.require().report.report_data, found.endorsements) == (DATA, ())


@pytest.mark.parametrize(
    ("files", "port"),
    [
        ({}, 4050),
        ({"/etc/tdx-attest.conf": lambda: Told(b"# vsock\nport = 4711\n")}, 4711),
        ({"/etc/tdx-attest.conf": lambda: Told(b"#port=1\n")}, 4050),
    ],
    ids=["none", "named", "commented"],
)
def test_the_service_is_asked_at_the_port_that_intels_configuration_names(files, port):
    with quote_service() as (host, ports):
        open_tdx_guest(machine_with(TdxGuestDevice(), host, files)).collect(DATA, challenge=CHALLENGE)
    assert ports == [port]


def test_an_answer_in_pieces_of_a_byte_is_the_same():
    with quote_service(pieces=1) as (host, _):
        assert open_tdx_guest(machine_with(TdxGuestDevice(), host)).collect(DATA, challenge=CHALLENGE).report


def nobody(_port):
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_without_the_hosts_service_there_is_no_evidence_and_a_tdreport_is_not_given_for_it():
    with pytest.raises(TeeUnavailable, match=r"qgsd.*a TDREPORT alone is no evidence"):
        open_tdx_guest(machine_with(TdxGuestDevice(), nobody)).collect(DATA, challenge=CHALLENGE)


OTHER = TDX.quote(replace(TD, report_data=bytes(64)))


@pytest.mark.parametrize(
    ("told", "error", "named"),
    [
        (answer(b"", error=0x12001), TeeUnavailable, "says 0x12001: the host's log"),
        (answer(b"", kind=3), TeeFault, "type 3"),
        (answer(td_report(TD)), TeeFault, "a TDREPORT, which only the same machine can check"),
        (answer(OTHER), TeeFault, "it answers somebody else"),
        (answer(b""), TeeFault, "what came for a TD quote is none"),
        ((1 << 20).to_bytes(4, "big"), TeeFault, "a message of 1048576 bytes"),
        (bytes(4), TeeFault, "a message of 0 bytes"),
        (answer(OTHER)[:-1], TeeUnavailable, "hung up"),
        (b"", TeeUnavailable, "hung up"),
    ],
    ids=["error", "kind", "tdreport", "foreign", "empty", "large", "zero", "cut", "silent"],
)
def test_what_the_host_answers_in_place_of_our_quote_is_named(told, error, named):
    with pytest.raises(error, match=named):
        collected(answers=lambda _: told)


def test_a_service_that_goes_silent_is_left():
    service = quote_service(lambda _: answer(OTHER)[:100], ends=False)
    with service as (host, _), pytest.raises(TeeUnavailable, match="gives no quote"):
        quote_of(td_report(TD), lambda: host(1), seconds=0.2)


@pytest.mark.parametrize(
    ("device", "error", "named"),
    [
        (TdxGuestDevice(report_data=bytes(64)), TeeFault, "other report data"),
        (TdxGuestDevice(faults=[errno.EIO]), TeeUnavailable, "The TDX module refused"),
        (TdxGuestDevice(faults=[errno.EPERM]), TeeDenied, "Only root"),
    ],
    ids=["foreign", "refused", "denied"],
)
def test_what_the_kernel_says_is_said_with_what_to_do(device, error, named):
    with pytest.raises(error, match=named):
        collected(device)


def test_signals_interrupt_nothing():
    assert collected(TdxGuestDevice(faults=[errno.EINTR] * 3)).report


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_anything_but_64_bytes_is_a_callers_mistake(size):
    with pytest.raises(ValueError, match="carries 64"):
        open_tdx_guest(machine_with(TdxGuestDevice(), nobody)).collect(bytes(size), challenge=CHALLENGE)


def test_a_machine_without_the_device_is_none():
    with pytest.raises(NoTee, match="module tdx-guest"):
        open_tdx_guest(Machine(calls=DeviceKernel()))


def test_the_real_vsock_says_that_nobody_listens():
    with pytest.raises(OSError):  # noqa: PT011 - no device, no listener, or no vsock: each kernel has its own word
        connect_vsock(4)
