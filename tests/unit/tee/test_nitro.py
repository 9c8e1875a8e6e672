"""Nitro documents by /dev/nsm, by way of a device that keeps the driver's rules."""

import errno

import cbor2
import pytest
from tests.doubles.device_kernel import DeviceKernel
from tests.doubles.nsm_device import NsmDevice

from cloister.attest.nitro import examine_nitro
from cloister.formats.nitro_document import parse_nitro_document
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nitro import open_nitro
from cloister.testing.world import NOON

DATA, CHALLENGE = bytes(range(64)), b"c" * 32


def machine_with(device, **changes):
    kernel = DeviceKernel({"/dev/nsm": lambda: device}, **changes)
    return Machine(calls=kernel, ioctl=kernel.ioctl)


def collected(device):
    return open_nitro(machine_with(device)).collect(DATA, challenge=CHALLENGE)


def test_a_document_is_accepted_by_the_examination_of_nitro():
    device = NsmDevice()
    signed = parse_nitro_document(collected(device).report)
    authentic = examine_nitro(signed, roots=device.nitro.roots, at=NOON + 5).require()
    assert (authentic.user_data, authentic.nonce, authentic.public_key) == (DATA, CHALLENGE, None)


@pytest.mark.parametrize(
    ("device", "error", "named"),
    [
        (NsmDevice(answer={"Error": "InternalError"}), TeeUnavailable, "says InternalError"),
        (NsmDevice(answer={"Attestation": {}}), TeeFault, "no document"),
        (NsmDevice(answer={}), TeeFault, "without a document"),
        (NsmDevice(answer={"Attestation": {"document": b"x"}}), TeeFault, "no document"),
        (NsmDevice(answer=[1, 2]), TeeFault, "no document"),
        (NsmDevice(answer=cbor2.CBORTag(28, {})), TeeFault, "no document"),
        (NsmDevice(length=1), TeeFault, "no document"),
        (NsmDevice(length=1 << 40), TeeFault, "in a buffer of 12288"),
        (NsmDevice(changes={"nonce": bytes(32)}), TeeFault, "another nonce"),
        (NsmDevice(changes={"user_data": DATA[:63]}), TeeFault, "other user data"),
        (NsmDevice(faults=[errno.EBUSY]), TeeUnavailable, "busy: ask again"),
        (NsmDevice(faults=[errno.EACCES]), TeeDenied, "Only root"),
    ],
    ids=[
        "internal",
        "empty",
        "nothing",
        "malformed",
        "list",
        "tag",
        "cut",
        "long",
        "nonce",
        "user-data",
        "busy",
        "denied",
    ],
)
def test_what_is_no_document_of_ours_is_named(device, error, named):
    with pytest.raises(error, match=named):
        collected(device)


def test_signals_interrupt_nothing():
    assert collected(NsmDevice(faults=[errno.EINTR] * 3)).report


@pytest.mark.parametrize("size", [0, 63, 65, 513])
def test_anything_but_64_bytes_is_a_callers_mistake(size):
    with pytest.raises(ValueError, match="carries 64"):
        open_nitro(machine_with(NsmDevice())).collect(bytes(size), challenge=CHALLENGE)


def test_outside_an_enclave_there_is_none():
    with pytest.raises(NoTee, match="not of the instance that started it"):
        open_nitro(Machine(calls=DeviceKernel()))
