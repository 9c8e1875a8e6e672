"""`cloister engine install`: pip installs an engine's libraries into a new folder, which then replaces the old one."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cloister.cli.engine_list import is_damaged
from cloister.cli.replaced_folder import replacing
from cloister.cli.terminal import say
from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.sandbox.own_libraries import SERVICES, lacking, own_folder, requirements_of
from cloister.services.gateway.engine_choice import ENGINES

EPILOG = """\b
Examples:
  cloister engine install transformers
  cloister engine install transformers --upgrade
  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu cloister engine install transformers
  PIP_NO_INDEX=1 PIP_FIND_LINKS=./wheels cloister engine install transformers      from files alone

PyPI's torch for Linux brings CUDA's libraries, some 3 GB, which engines of Cloister's own do not use: the third line
takes torch's CPU build instead (200 MB). pip says what it does, and obeys its own configuration and variables, but
that it takes wheels alone: they are unpacked, and nothing of what is installed runs outside the sandbox.

What is there stays until all of the new is there. A service that runs keeps what it was started with; a contract names
an engine by the digest of all its files, so other versions than the contract's wait for its successor.
"""
# Wheels are unpacked; building a source distribution runs its code, as this user and outside of any sandbox.
_HOW = ("--disable-pip-version-check", "--no-compile", "--only-binary=:all:")


class PipMissing(CloisterError):
    """There is no pip in this environment."""


class PipFailed(Unavailable):
    """pip did not install what was asked for; it has said why."""


@click.command(epilog=EPILOG)
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--upgrade", is_flag=True, help="Install the newest versions, even where others would do.")
def install(names: tuple[str, ...], *, upgrade: bool) -> None:
    """Install what engines need, each into a folder of its own in this environment.

    Where all of it is there already, whole and in versions that this Cloister takes, nothing is done.
    """
    for extra, name in _extras(names).items():
        folder = own_folder(extra)
        if extra == SERVICES:
            say(f"{name}: came with the services")
        elif not upgrade and not lacking(extra) and not is_damaged(ENGINES[name]):
            say(f"{name}: is installed in {folder}")
        else:
            _install(extra, folder)
            say(f"{name}: installed in {folder}")


def _extras(names: tuple[str, ...]) -> dict[str, str]:
    """The extras of the engines with these names, each once, with the name that it was asked by.

    Raises:
        UsageError: there is no such engine.
    """
    extras: dict[str, str] = {}
    for name in names:
        if name not in ENGINES:
            raise UsageError(f"engine {name!r} is none of {', '.join(ENGINES)}: cloister engine list")
        extras.setdefault(ENGINES[name].extra, name)
    return extras


def _install(extra: str, folder: Path) -> None:
    """Make `folder` hold what `extra` requires, and nothing else.

    Raises:
        PipMissing, PipFailed: it could not be installed; the folder is as it was.
        UsageError: the environment is not this user's to change, or somebody else changes it now, or its file system
            cannot exchange folders.
    """
    if importlib.util.find_spec("pip") is None:
        raise PipMissing(f"there is no pip in {sys.prefix}: {sys.executable} -m ensurepip, and run this command again")
    with _alone(folder.parent), replacing(folder) as new:
        wanted = [str(one) for one in requirements_of(extra)]
        command = [sys.executable, "-I", "-m", "pip", "install", *_HOW, "--target", str(new), *wanted]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter and requirements
        if done.returncode:
            raise PipFailed(
                f"pip ended with {done.returncode} and says above why; {folder} is as it was. Where an index could not"
                " be reached, run the command again; PIP_INDEX_URL or PIP_FIND_LINKS name others. No source is built:"
                " where there is no wheel for this machine, build one elsewhere (pip wheel) and name its folder in"
                " PIP_FIND_LINKS"
            )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder of all engines' libraries against other commands like this one."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except PermissionError as error:
        raise UsageError(f"{folder} is not yours to write: run the command as the owner of {sys.prefix}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another cloister engine install is at work in {folder}: wait for its end") from error
        yield
