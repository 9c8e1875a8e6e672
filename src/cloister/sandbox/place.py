"""The folders of one start: where its socket is, and what its tool wants besides. They go when the engine has ended.

With bubblewrap all that is inside lies in namespaces, and the socket alone outside. Landlock alone has no namespace to
hide anything in: scratch, sections and model lie in a folder in the machine's memory, of the sandbox's user. gVisor
wants a bundle, and makes the socket itself: its kernel takes no listening socket of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.sandbox import own_user
from cloister.sandbox.profile import (
    NAME_PLACEHOLDER,
    PLACE_PLACEHOLDER,
    SANDBOX_UID,
    STAGE_PLACEHOLDER,
    USER_PLACEHOLDER,
    SandboxProfile,
)

_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has its memory for files
_LEFT = "cloister-engine-"
_ROOT = ("app", "dev", "etc", "model", "proc", "sections", "sockets", "sys", "tmp", "usr")
_LINKS = {"lib": "usr/lib", "lib64": "usr/lib64", "bin": "usr/bin"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one engine's socket is, the folder of its tool's own, where it has one, and whom root drops to for it."""

    sockets: Path
    own: Path | None = None
    user: int = SANDBOX_UID

    def filled(self, text: str, stage: Path) -> str:
        """`text` with this machine's paths for its placeholders."""
        if self.own is not None:
            text = text.replace(PLACE_PLACEHOLDER, str(self.own)).replace(NAME_PLACEHOLDER, self.own.name)
        return text.replace(STAGE_PLACEHOLDER, str(stage)).replace(USER_PLACEHOLDER, str(self.user))

    def write_configuration(self, configuration: str, stage: Path, program: tuple[str, ...]) -> None:
        """GVisor's config.json, with the program to start."""
        told = self._filled(json.loads(configuration), stage)
        told["process"]["args"] = program
        assert self.own is not None
        (self.own / "config.json").write_text(json.dumps(told))

    def _filled(self, told: Any, stage: Path) -> Any:
        if isinstance(told, dict):
            return {name: self._filled(value, stage) for name, value in told.items()}
        if isinstance(told, list):
            return [self._filled(value, stage) for value in told]
        return self.filled(told, stage) if isinstance(told, str) else told

    def remove(self) -> None:
        """Remove both folders."""
        for folder in (self.sockets, self.own):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def make(profile: SandboxProfile, run_folder: Path, stages: Path) -> Place:
    """The folders for one start.

    Args:
        profile: says by which tool.
        run_folder: ours alone.
        stages: what is staged lies in it; the sandbox's user can traverse it.
    """
    if profile.tool == "gvisor":
        room = stages if os.access(stages, os.W_OK) else _MEMORY  # an image is read-only
        return bundle(Path(tempfile.mkdtemp(prefix="bundle-", dir=room)), dropped=profile.user == "dropped")
    sockets = Path(tempfile.mkdtemp(prefix="engine-", dir=run_folder))
    user = own_user.unused() if profile.user == "dropped" else SANDBOX_UID
    if profile.tool == "bwrap":
        return Place(sockets, user=user)
    remove_leftovers()
    own = Path(tempfile.mkdtemp(prefix=f"{_LEFT}{os.getpid()}-", dir=_MEMORY))
    own.chmod(0o711)
    for name in ("scratch", "sections", "model"):
        _owned(own / name, user)
    return Place(sockets, own, user)


def bundle(own: Path, *, dropped: bool) -> Place:
    """gVisor's: an empty root to mount in, a folder for runsc's own state, and one for the socket."""
    own.chmod(0o711)
    for name in _ROOT:
        (own / "root" / name).mkdir(parents=True)
    shutil.copyfile("/etc/ld.so.cache", own / "root" / "etc" / "ld.so.cache")
    for folder, _, files in os.walk(own / "root"):  # whatever the umask is: the sandbox's user reads it
        Path(folder).chmod(0o755)
        for name in files:
            Path(folder, name).chmod(0o644)
    for name, target in _LINKS.items():
        (own / "root" / name).symlink_to(target)
    user = own_user.unused() if dropped else None
    _owned(own / "state", user)
    return Place(_owned(own / "sockets", user), own, SANDBOX_UID if user is None else user)


def remove_leftovers() -> None:
    """Remove what launchers that are no more left in memory: an engine's files would stay there for good."""
    for folder in _MEMORY.glob(f"{_LEFT}*"):
        launcher = folder.name.removeprefix(_LEFT).partition("-")[0]
        if folder.stat().st_uid == os.geteuid() and not Path("/proc", launcher).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _owned(folder: Path, user: int | None) -> Path:
    """A folder for nobody but `user`; ours, where that is None."""
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user, user)
    return folder
