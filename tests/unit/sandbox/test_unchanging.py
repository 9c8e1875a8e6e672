"""On hardware nothing is staged where the machine's host could change it after it was hashed."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from tests.doubles.mounts import MEMORY, MEMORY_WITHOUT_PROGRAMS, READ_ONLY, in_python
from tests.doubles.sandboxes import traversable_folder

from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.unchanging import mount_of, require_unchanging, unchanging_folder
from cloister.services.gateway.service import stage_folder
from cloister.services.gateway.settings import GatewaySettings

SWAPS = "Filename Type Size Used Priority\n"
AT_HOST = "is neither in memory nor held by dm-verity"


class Machine:
    """A machine of two mounts, the upper of which is where engines are to be staged."""

    def __init__(self, folder):
        self.root, self.stage = folder / "machine", folder / "st age"
        self.stage.mkdir(mode=0o755)
        (self.root / "proc" / "self").mkdir(parents=True)
        self.has(swaps=SWAPS)
        self.mounts()

    def mounts(self, kind="ext4", options="rw,relatime", at=None):
        point = str(at or self.stage).replace(" ", r"\040")
        lines = ["20 1 254:0 / / rw - ext4 /dev/vda rw", f"21 20 254:3 / {point} {options} shared:7 - {kind} x rw"]
        (self.root / "proc" / "self" / "mountinfo").write_text("\n".join(lines) + "\n")

    def has(self, swaps):
        (self.root / "proc" / "swaps").write_text(swaps)

    def maps(self, uuid):
        """The upper mount's device is the device mapper's."""
        folder = self.root / "sys" / "dev" / "block" / "254:3" / "dm"
        folder.mkdir(parents=True)
        (folder / "uuid").write_text(uuid + "\n")

    def backs(self, device, behind):
        """A device of compressed memory can write back to `behind`."""
        folder = self.root / "sys" / "block" / device
        folder.mkdir(parents=True)
        (folder / "backing_dev").write_text(behind)

    def requires(self):
        require_unchanging(self.stage, machine=self.root)

    def refuses(self, why):
        with pytest.raises(
            SandboxUnavailable, match=f"are not staged in {self.stage}: .*{why}.*Leave stage_folder out"
        ):
            self.requires()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "rootfs"])
def test_memory_is_taken(machine, kind):
    machine.mounts(kind)
    machine.requires()


@pytest.mark.parametrize("options", ["rw", "ro"])
@pytest.mark.parametrize("kind", ["ext4", "overlay", "9p", "virtiofs"])
def test_a_disk_is_refused_however_it_is_mounted(machine, kind, options):
    machine.mounts(kind, options)
    machine.refuses(AT_HOST)


def test_an_image_is_taken_if_dm_verity_holds_it(machine):
    machine.mounts("erofs", "ro")
    machine.maps("CRYPT-VERITY-0123456789abcdef-root")
    machine.requires()


def test_an_encrypted_disk_is_refused_since_its_blocks_can_be_put_back(machine):
    machine.maps("CRYPT-LUKS2-0123456789abcdef-root")
    machine.refuses(AT_HOST)


@pytest.mark.parametrize("kind", ["tmpfs", "rootfs"])
def test_memory_that_can_go_to_a_swap_is_refused(machine, kind):
    machine.mounts(kind)
    machine.has(SWAPS + "/dev/vda2 partition 1048572 0 -2\n")
    machine.refuses("can go to the swap at /dev/vda2, which is its host's: swapoff -a")


@pytest.mark.parametrize(("kind", "swap"), [("ramfs", "/dev/vda2"), ("tmpfs", "/dev/zram0")])
def test_memory_that_stays_memory_is_taken(machine, kind, swap):
    machine.mounts(kind)
    machine.has(f"{SWAPS}{swap} partition 1048572 0 -2\n")
    machine.requires()


@pytest.mark.parametrize(("behind", "taken"), [("none\n", True), ("/dev/vda3\n", False)])
def test_compressed_memory_that_is_written_back_to_a_disk_is_a_swap_like_others(machine, behind, taken):
    machine.mounts("tmpfs")
    machine.has(f"{SWAPS}/dev/zram0 partition 1048572 0 -2\n")
    machine.backs("zram0", behind)
    if taken:
        machine.requires()
    else:
        machine.refuses("can go to the swap at /dev/zram0, which is its host's: swapoff -a")


def test_where_no_program_can_be_started_is_refused_before_anything_is_copied(machine):
    machine.mounts("tmpfs", "rw,noexec")
    machine.refuses(r"no program can be started from .* \(noexec\)")


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(machine, mode):
    machine.mounts("tmpfs")
    machine.stage.chmod(mode)
    machine.refuses("nobody else may write to")


def test_a_link_that_another_user_could_have_laid_is_refused(machine):
    machine.mounts("tmpfs")
    real = machine.stage.rename(machine.stage.with_name("elsewhere"))
    machine.stage.symlink_to(real)
    machine.mounts("tmpfs", at=real)
    machine.refuses("nobody else may write to")


def test_a_folder_that_others_may_move_is_refused(machine):
    machine.mounts("tmpfs", at=machine.stage.parent)
    machine.stage.parent.chmod(0o777)
    machine.refuses(f"other users may move it: {machine.stage.parent} is theirs to change")
    machine.stage.parent.chmod(0o1777)
    machine.requires()


def test_the_folder_is_named_as_it_was_looked_at_whatever_a_link_on_the_way_says_later(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        (tmp_path / "way").symlink_to(memory)
        if Path("/proc/swaps").read_text().count("\n") > 1:
            pytest.skip("this machine swaps")
        assert unchanging_folder(tmp_path / "way" / "stage") == Path(memory, "stage")
        with pytest.raises(SandboxUnavailable, match="it is a link, which can lead elsewhere later"):
            unchanging_folder(tmp_path / "way")


def test_the_mount_that_lies_above_counts(machine):
    machine.mounts("tmpfs", at=machine.stage.parent)
    machine.requires()
    machine.mounts("tmpfs", at=f"{machine.stage}er")
    machine.refuses(AT_HOST)


def settings(folder, **changed):
    key = {"platform_key": folder / "key"} if changed.get("platform") is None else {}
    return GatewaySettings(
        **{"port": 1, "kms_urls": (), "contract": folder / "c", "state": folder, "run_folder": folder} | key | changed
    )


def test_a_gateway_on_hardware_stages_in_memory_and_on_the_software_tee_below_its_state():
    with traversable_folder() as folder:
        assert stage_folder(settings(folder)) == folder / "stage"
        assert stage_folder(settings(folder, stage_folder=folder / "x")) == folder / "x"
    expected = Path(f"/dev/shm/cloister-stage-{os.geteuid()}")
    if Path("/proc/swaps").read_text().count("\n") > 1:
        pytest.skip("this machine swaps")
    assert stage_folder(settings(folder, platform="auto")) == expected
    with contextlib.suppress(OSError):
        expected.rmdir()


STAGING = """
import sys; from pathlib import Path
from cloister.sandbox.closure import ECHO, stage
from cloister.sandbox.unchanging import unchanging_folder
stage(ECHO, unchanging_folder(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("mount", "said"),
    [(MEMORY, ""), (MEMORY_WITHOUT_PROGRAMS, "(noexec)"), (READ_ONLY, AT_HOST), ("true", AT_HOST)],
)
def test_mounts_of_this_machine_are_told_apart(mount, said):
    with traversable_folder() as folder:
        if said == AT_HOST and mount_of(folder, Path("/proc/self/mountinfo").read_text()).kind == "tmpfs":
            pytest.skip("this machine's /tmp is in memory")
        done = in_python(mount, folder, STAGING, folder)
        assert (done.returncode == 0, said in done.stderr) == (said == "", True)
