"""The driver's library as `ctypes` shows it: structures by pointer, a return code for each call, begin and end."""

from dataclasses import dataclass, field

from cloister.testing.certificates import Life
from cloister.testing.nvidia_hardware import MadeDevice, NvidiaVendor
from cloister.testing.world import NOON

VENDOR = NvidiaVendor(Life(NOON - 1000, NOON + 1000))
UNINITIALIZED, INVALID_ARGUMENT, VERSION_MISMATCH = 1, 2, 25


class Function:
    """A function of the library: it takes attributes, as those of ctypes do."""

    def __init__(self, call):
        self.call = call
        self.restype = None

    def __call__(self, *arguments):
        return self.call(*arguments)


@dataclass
class NvmlLibrary:
    gpus: tuple[MadeDevice, ...] = (MadeDevice(vendor=VENDOR), MadeDevice(vendor=VENDOR, serial="48B02D0000000002"))
    architecture: int = 9
    feature: int = 1  # confidential mode is on
    devtools: int = 0
    multi_gpu: int = 0
    count: int | None = None
    codes: dict[str, int] = field(default_factory=dict)  # what functions return instead
    absent: tuple[str, ...] = ()  # functions that this driver does not have
    sizes: dict[str, int] = field(default_factory=dict)  # that it tells: report, chain
    report: bytes | None = None  # in place of the GPU's own
    begun: int = 0
    asked: list[int] = field(default_factory=list)

    def __getattr__(self, name):
        if not name.startswith("nvml") or name in self.absent:
            raise AttributeError(f"{name}: undefined symbol")
        return Function(lambda *arguments: self._call(name, *arguments))

    def _call(self, name, *arguments):
        if name == "nvmlErrorString":
            return b"Words"
        if name in self.codes:
            return self.codes[name]
        if not self.begun and name != "nvmlInit_v2":
            return UNINITIALIZED
        return getattr(self, f"_{name.removeprefix('nvml').lower()}")(*arguments) or 0

    def _init_v2(self):
        self.begun += 1

    def _shutdown(self):
        self.begun -= 1

    def _systemgetconfcomputesettings(self, settings):
        into = settings.contents
        if into.version != (20 | 1 << 24):
            return VERSION_MISMATCH
        into.feature, into.devtools, into.multi_gpu = self.feature, self.devtools, self.multi_gpu
        return 0

    def _devicegetcount_v2(self, count):
        count.contents.value = len(self.gpus) if self.count is None else self.count

    def _devicegethandlebyindex_v2(self, index, device):
        if index.value >= len(self.gpus):
            return INVALID_ARGUMENT
        device.contents.value = 0x1000 + index.value
        return 0

    def _devicegetarchitecture(self, _device, architecture):
        architecture.contents.value = self.architecture

    def _devicegetconfcomputegpuattestationreport(self, device, report):
        into = report.contents
        self.asked.append(device.value - 0x1000)
        data = self.gpus[self.asked[-1]].report(bytes(into.nonce)) if self.report is None else self.report
        into.report[: len(data)] = data
        into.report_size = self.sizes.get("report", len(data))

    def _devicegetconfcomputegpucertificate(self, device, certificate):
        into = certificate.contents
        data = self.gpus[device.value - 0x1000].chain()
        into.attestation_chain[: len(data)] = data
        into.attestation_chain_size = self.sizes.get("chain", len(data))
