"""A node's identity in files that programs of others read: in memory, for their owner alone, replaced all at once.

The names are links into a folder that is made anew for each certificate, by way of one link that is replaced in one
step: whoever reads certificate and key through it gets those that belong together.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from cloister.errors import UsageError
from cloister.node.identity_tls import HeldIdentity

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
AUTHORITY: Final = "authority.pem"  # every authority of the contract line that is trusted now
IDENTITY: Final = "identity.pem"  # certificate and key in one
NAMES: Final = (CERTIFICATE, KEY, AUTHORITY, IDENTITY)
_CURRENT: Final = "..current"
_IN_MEMORY: Final = ("tmpfs", "ramfs")


class IdentityFiles:
    """The files in one folder."""

    def __init__(self, folder: Path, *, allow_disk: bool = False) -> None:
        """Make the folder if it is missing; `allow_disk` takes one whose files may come onto a disk.

        Raises:
            UsageError: others can get into it, or it may come onto a disk.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            raise UsageError(f"the folder {folder} cannot be made: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise UsageError(f"{folder} is to hold a private key: it must be a folder of yours, mode 700")
        if not allow_disk and (reason := why_on_disk(folder)):
            raise UsageError(
                f"{folder} {reason}, and a key must not come onto a disk: name a folder on a tmpfs, as /dev/shm or /run"
                " (UnsafeKeysOnDisk in [security] exceptions accepts it, where the contract names such a node)"
            )
        self.folder = folder
        self._current: Path | None = None

    def write(self, held: HeldIdentity) -> None:
        """Replace what is there by this identity.

        Raises:
            UsageError: the folder is full, or is no more.
        """
        certificate, key = held.certificate_pem(), held.key.pem()
        contents = {CERTIFICATE: certificate, KEY: key, AUTHORITY: held.authorities_pem(), IDENTITY: certificate + key}
        try:
            version = Path(tempfile.mkdtemp(prefix="..", dir=self.folder))
            for name, data in contents.items():
                descriptor = os.open(version / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
            self._link(_CURRENT, version.name)
            for name in NAMES:
                if not (self.folder / name).is_symlink():
                    self._link(name, f"{_CURRENT}/{name}")
        except OSError as error:
            raise UsageError(f"the identity cannot be written into {self.folder}: {error.strerror}") from error
        self._remove_but(version, self._current)
        self._current = version

    def remove(self) -> None:
        """Leave nothing of it behind but the folder."""
        for name in (*NAMES, _CURRENT):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_but()

    def _link(self, name: str, target: str) -> None:
        partial = self.folder / f"..new-{os.getpid()}"
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(self.folder / name)

    def _remove_but(self, *kept: Path | None) -> None:
        """What is older than the version before may go: nobody begins to read there any more."""
        for old in self.folder.glob("..*"):
            if old.is_dir() and not old.is_symlink() and old not in kept:
                shutil.rmtree(old, ignore_errors=True)


def why_on_disk(folder: Path) -> str:
    """Why what is written into `folder` may come onto a disk, in words; empty where it does not."""
    kind, options = _mount_of(folder)
    if kind not in _IN_MEMORY:
        return f"is on {kind or 'a filesystem that cannot be told'}"
    if kind == "ramfs" or "noswap" in options:
        return ""
    with contextlib.suppress(OSError):
        if len(Path("/proc/swaps").read_text().splitlines()) > 1:
            return "is on a tmpfs that this machine may swap out"
    return ""


def _mount_of(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The kind of filesystem that `folder` is on, and its options (proc_pid_mountinfo(5)); nothing where none is it."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            kind, _, options = rest.split(" ", 2)
            return kind, tuple(options.split(","))
    return "", ()
