"""A GPU's devices in the sandbox, by made ones of the same names: no GPU was there when this was written."""

import os

import pytest
from tests.doubles.machine_with_devices import MADE, ran
from tests.doubles.sandboxes import traversable_folder

from cloister.sandbox.devices import found
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.plan import plan

LOOK = """
import errno, fcntl, os
def became(act):
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno]
def told(path):
    with open(path, "r+b", buffering=0) as device:
        return device.read(4), device.write(b"x"), became(lambda: fcntl.ioctl(device, 0x4600))
result = (
    [name for name in NAMES if os.path.exists(f"/dev/{name}")],
    became(lambda: told("/dev/nvidia0")),
    became(lambda: os.mknod("/tmp/own", 0o20666, os.makedev(195, 0))),
    became(lambda: os.unlink("/dev/nvidia0")),
)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_an_engine_has_the_devices_that_its_profile_names_and_no_others():
    with traversable_folder() as folder:
        said = ran(folder, LOOK.replace("NAMES", repr(list(MADE))))
    devices = ["nvidia0", "nvidiactl", "nvidia-uvm"]
    assert said["nvidia"] == f"did it: ({devices}, (b'\\x00\\x00\\x00\\x00', 1, 'ENOTTY'), 'EACCES', 'EROFS')"
    assert said["none"] == "did it: ([], 'ENOENT', 'EACCES', 'EROFS')"


def test_a_machine_without_the_devices_says_which_it_lacks(tmp_path):
    (tmp_path / "nvidia0").write_text("a file is no device")
    with pytest.raises(
        SandboxUnavailable, match=r"lacks /dev/nvidia0, /dev/nvidiactl, /dev/nvidia-uvm.*nvidia-modprobe"
    ):
        found("nvidia", tmp_path)
    assert found("none", tmp_path) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_of_all_devices_only_those_that_compute_are_taken(tmp_path):
    (tmp_path / "nvidia-caps").mkdir()
    for name in (
        "nvidia0",
        "nvidia12",
        "nvidiactl",
        "nvidia-uvm",
        "nvidia-modeset",
        "nvme0",
        "nvidia-caps/nvidia-cap1",
    ):
        os.mknod(tmp_path / name, 0o20666, os.makedev(1, 3))
    assert found("nvidia", tmp_path) == tuple(
        f"/dev/{name}" for name in ("nvidia-caps/nvidia-cap1", "nvidia-uvm", "nvidia0", "nvidia12", "nvidiactl")
    )


@pytest.mark.parametrize("tool", ["gvisor", "landlock"])
def test_devices_are_given_by_bubblewrap_alone(tool, monkeypatch):
    monkeypatch.setattr("cloister.sandbox.plan.found", lambda _: ("/dev/nvidia0",))
    with pytest.raises(SandboxUnavailable, match=f"bwrap alone, not by {tool}"):
        plan(tool=tool, devices="nvidia")
