"""The machine's own file system and calls, as collectors use them."""

import errno
import os
from pathlib import Path

import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.tsm_kernel import fault

from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine, explained, uninterrupted


def test_a_file_is_read_whole_below_the_root_and_never_past_its_limit(tmp_path):
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "blob").write_bytes(b"x" * 70_000)
    machine = Machine(root=tmp_path)
    assert machine.read("sys/blob", limit=70_000) == b"x" * 70_000
    with pytest.raises(TeeFault, match="more than 69999 bytes"):
        machine.read("sys/blob", limit=69_999)
    with pytest.raises(FileNotFoundError):
        machine.read("sys/other", limit=1)


def test_what_is_written_is_written_in_one_piece_or_told(tmp_path):
    (tmp_path / "inblob").write_bytes(b"")
    Machine(root=tmp_path).write("inblob", b"y" * 64)
    assert (tmp_path / "inblob").read_bytes() == b"y" * 64
    short = DeviceKernel({str(tmp_path / "inblob"): Short})
    with pytest.raises(TeeFault, match="took 63 of 64 bytes"):
        Machine(root=tmp_path, calls=short).write("inblob", b"y" * 64)


class Short:
    def write(self, data):
        return len(data) - 1

    def close(self):
        pass


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_closed_whatever_happens(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    before = open_descriptors()
    with pytest.raises(KeyboardInterrupt), Machine(root=tmp_path).opened("file", os.O_RDONLY):
        raise KeyboardInterrupt
    assert open_descriptors() == before


def test_a_call_is_made_again_as_often_as_signals_interrupt_it_and_not_for_ever():
    calls: list[int] = []

    def interrupted():
        calls.append(1)
        if len(calls) < 5:
            raise fault(errno.EINTR)
        return "done"

    assert uninterrupted(interrupted) == "done"
    with pytest.raises(InterruptedError):
        uninterrupted(lambda: (_ for _ in ()).throw(fault(errno.EINTR)))


def test_an_ioctl_of_the_real_kernel_says_what_it_says(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    machine = Machine(root=tmp_path)
    with machine.opened("file", os.O_RDWR) as descriptor, pytest.raises(OSError, match="Inappropriate ioctl"):
        machine.control(descriptor, 0xC0205300, bytearray(32))


def test_a_device_that_is_absent_denied_or_busy_is_said_so():
    kernel = DeviceKernel({"/dev/busy": Busy}, denied=("/dev/mine",))
    machine = Machine(calls=kernel)
    for path, kind, named in (
        ("dev/none", NoTee, "^not there$"),
        ("dev/mine", TeeDenied, "opening /dev/mine: Permission denied. Only root"),
        ("dev/busy", TeeUnavailable, "opening /dev/busy: Device or resource busy. Wait"),
    ):
        opened = machine.device(path, absent="not there", advice={errno.EBUSY: "Wait"})
        with pytest.raises(kind, match=named), opened:
            pass


class Busy:
    def __init__(self):
        raise fault(errno.EBUSY)


def test_an_error_without_advice_names_its_code_and_where_more_is_said():
    said = explained(fault(errno.ENOMEM), "asking", {})
    assert str(said) == "asking: Cannot allocate memory (ENOMEM). The kernel's log says more: dmesg"
