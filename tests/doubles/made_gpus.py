"""NVIDIA's devices and manifests as tests make them up, with what is trusted and accepted of them."""

from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import examine_nvidia_device
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED, parse_answer
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.testing.certificates import Life
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, measured
from cloister.testing.ocsp_answers import Responder

NOW = 1_800_000_000
LIFE = Life(NOW - 1000, NOW + 1000)
VENDOR = NvidiaVendor(LIFE)
NONCE = bytes(range(32))
DEVICE = MadeDevice(vendor=VENDOR)
FOREIGN = NvidiaVendor(LIFE, seed="foreign")
OTHER = MadeDevice(vendor=VENDOR, serial="48B02D0000000002")
BLACKWELL = MadeDevice(vendor=VENDOR, serial="48B02D0000000003", product="GB100", mode=b"\1\0", opaque={35: b"GB200\0"})
SWITCH = MadeDevice(
    vendor=VENDOR, serial="48B02D0000000004", product="LS_10", driver="", vbios=b"96.10.55.00.01", mode=None, pcie=None
)
RESPONDER = Responder(life=LIFE)
REPORT, CHAIN = DEVICE.report(NONCE), DEVICE.chain()
NO_OCSP = ("UnsafeAllowUncheckedRevocation",)
DRIVER_RIM = MadeRim(version="550.90.07", measurements={index: [measured(index)] for index in range(20, 40)})
VBIOS_RIM = MadeRim(version="96.00.9F.00.01", measurements={index: [bytes(48), measured(index)] for index in range(9)})
POLICY = NvidiaPolicy(
    gpus=1,
    switches=0,
    architectures=("hopper",),
    modes=("single",),
    drivers=("550.90.07",),
    vbioses=("96.00.9F.00.01",),
    switch_bioses=("96.10.55.00.01",),
    without_fwid=False,
    unsafe=(),
    expressions=(),
)


def trusted(answers=(), *, vendor=VENDOR, nonce=STAPLED, at=NOW, unsafe=()):
    return NvidiaTerms(
        devices=[vendor.device_root.pin],
        manifests=[vendor.rim_root.pin],
        answers=[parse_answer(one) for one in answers],
        nonce=nonce,
        at=at,
        unsafe=unsafe,
    )


ANSWERS = DEVICE.answers(RESPONDER)
RIM_ANSWERS = VENDOR.rim_answers(RESPONDER)


def authentic(device=DEVICE, nonce=NONCE):
    return examine_nvidia_device(device.evidence(nonce), trusted(unsafe=NO_OCSP)).require()


def rim(made, *, signer=None):
    data = made.file(signer or VENDOR.rim_signer)
    return examine_nvidia_rim(data, trusted(unsafe=NO_OCSP)).require()


RIMS = [rim(DRIVER_RIM), rim(VBIOS_RIM)]
GPU = authentic()
