"""Identities in files: in memory, for their owner alone, replaced all at once."""

import os
import ssl
import stat
import tempfile
from pathlib import Path

import pytest
from tests.unit.node.test_identity_tls import Nodes

from cloister.errors import UsageError
from cloister.node.identity_files import AUTHORITY, CERTIFICATE, IDENTITY, KEY, NAMES, IdentityFiles, why_on_disk

SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def nodes():
    return Nodes()


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=SHM) as made:
        yield Path(made) / "identity"


def files(folder) -> IdentityFiles:
    return IdentityFiles(folder, allow_disk=True)  # machines that test may swap


def test_certificate_key_and_authority_are_there_for_their_owner_alone(nodes, folder):
    files(folder).write(nodes.held())
    assert sorted(one.name for one in folder.iterdir() if not one.name.startswith("..")) == sorted(NAMES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE((folder / name).stat().st_mode) == 0o600 for name in NAMES)


def test_programs_can_load_them(nodes, folder):
    files(folder).write(nodes.held())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    context.load_cert_chain(folder / IDENTITY)
    context.load_verify_locations(folder / AUTHORITY)
    assert len(context.get_ca_certs()) == 1


def test_a_renewal_replaces_all_of_them_in_one_step(nodes, folder, monkeypatch):
    kept = files(folder)
    kept.write(nodes.held())
    replaced = []
    replace = Path.replace

    def counted(self, target):
        replaced.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", counted)
    kept.write(nodes.held())
    assert replaced == ["..current"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / CERTIFICATE, folder / KEY)


def test_who_reads_the_version_before_can_end_reading_and_older_ones_are_gone(nodes, folder):
    kept = files(folder)
    versions = []
    for _ in range(4):
        kept.write(nodes.held())
        versions.append((folder / "..current").resolve())
    assert [one.exists() for one in versions] == [False, False, True, True]


def test_nothing_is_left_when_it_ends(nodes, folder):
    kept = files(folder)
    kept.write(nodes.held())
    kept.remove()
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_can_get_into_is_refused(folder):
    folder.mkdir(mode=0o755)
    with pytest.raises(UsageError, match="mode 700"):
        files(folder)


def test_a_link_is_no_folder(folder):
    target = folder.with_name("elsewhere")
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    with pytest.raises(UsageError, match="a folder of yours"):
        files(folder)


def test_a_folder_on_a_disk_is_refused_unless_that_was_said(tmp_path):
    if not why_on_disk(tmp_path):
        pytest.skip("the folder of these tests is in memory")
    with pytest.raises(UsageError, match=r"must not come onto a disk.*UnsafeKeysOnDisk"):
        IdentityFiles(tmp_path / "identity")
    IdentityFiles(tmp_path / "identity", allow_disk=True)


@pytest.mark.parametrize(
    ("mounts", "swaps", "why"),
    [
        ("1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 {0} / /in rw - tmpfs tmpfs rw\n", "Filename\n", ""),
        ("1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 {0} / /in rw - ramfs none rw\n", "Filename\n/swap\n", ""),
        ("1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 {0} / /in rw - tmpfs t rw,noswap\n", "Filename\n/swap\n", ""),
        ("1 0 {0} / / rw - tmpfs t rw\n", "Filename\n/dev/sda2\n", "is on a tmpfs that this machine may swap out"),
        ("1 0 {0} / / rw - ext4 /dev/x rw\n", "Filename\n", "is on ext4"),
        ("1 0 0:1 / / rw - tmpfs t rw\n", "Filename\n", "is on a filesystem that cannot be told"),
    ],
    ids=["tmpfs", "ramfs and swap", "tmpfs without swap", "tmpfs and swap", "a disk", "a mount that is not told"],
)
def test_what_a_folder_is_on_is_read_from_the_kernel(tmp_path, monkeypatch, mounts, swaps, why):
    read, device = Path.read_text, tmp_path.stat().st_dev
    said = {
        "/proc/self/mountinfo": mounts.format(f"{os.major(device)}:{os.minor(device)}"),
        "/proc/swaps": swaps,
    }
    monkeypatch.setattr(Path, "read_text", lambda self, **given: said.get(str(self)) or read(self, **given))
    assert why_on_disk(tmp_path) == why


def test_a_full_folder_is_said(nodes, folder):
    kept = files(folder)
    folder.rmdir()
    with pytest.raises(UsageError, match="cannot be written"):
        kept.write(nodes.held())
