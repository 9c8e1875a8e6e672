"""What the verbs of `cloister model` share: arguments, key files, and what a person sees while files are worked on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cloister.cli.terminal import say
from cloister.crypto.elliptic_key import EllipticKey, EllipticPublicKey
from cloister.errors import MalformedInput, UsageError
from cloister.formats.model_manifest import ModelManifest
from cloister.formats.model_signature import MAXIMUM_SIGNATURE
from cloister.storage.key_file import read_secret

MAXIMUM_PEM = 16_384  # bytes
_PUBLIC = b"-----BEGIN PUBLIC KEY-----"
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


def name_option(command: Any) -> Any:
    """The `--name` option."""
    return click.option("--name", metavar="NAME", help="The model's name.  [default: the folder's]")(command)


def named(folder: Path, name: str | None) -> str:
    """The model's name: as said, or the folder's."""
    return folder.resolve().name if name is None else name


def read_public_key(path: Path) -> EllipticPublicKey:
    """Who should have signed a model.

    Raises:
        UsageError: it cannot be read.
        MalformedInput: it is no public key in PEM, on P-256 or P-384.
    """
    try:
        return EllipticPublicKey.from_pem(_read(path, MAXIMUM_PEM))
    except MalformedInput as error:
        raise MalformedInput(f"{path}: {error}; expected the public key of who signed the model") from error


def read_private_key(path: Path) -> EllipticKey:
    """Who signs a model.

    Raises:
        UsageError: it cannot be read, or others may read it.
        MalformedInput: it is no private key in PEM, on P-256 or P-384.
    """
    what = f"{path}: expected the private key of who signs the model"
    if _read(path, len(_PUBLIC) - 1) == _PUBLIC:  # before its mode is looked at: nobody has to hide that
        raise MalformedInput(f"{what}, and this is a public key")
    try:
        return EllipticKey.from_pem(read_secret(path, limit=MAXIMUM_PEM))
    except MalformedInput as error:
        raise MalformedInput(f"{what}: {error}") from error


def read_signature(path: Path) -> bytes:
    """A model's signature, of at most 32 MiB or one byte more; nothing in it is checked.

    Raises:
        UsageError: it cannot be read.
    """
    return _read(path, MAXIMUM_SIGNATURE)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def shown_files(manifest: ModelManifest) -> list[dict[str, object]]:
    """Each file for `--json`."""
    return [{"path": file.path, "size": file.size} for file in manifest.files]


def say_model(manifest: ModelManifest) -> None:
    """The model and its files, a line each."""
    say(f"model    {manifest.name}")
    say(f"digest   {manifest.digest().hex()}")
    say(f"files    {len(manifest.files)}, {manifest.size:,} bytes")
    for file in manifest.files:
        say(f"  {file.size:>18,}  {file.path}")


class ModelProgress:
    """A line on standard error, if that is a terminal: bytes done, speed, and how long it still takes."""

    def __init__(self, doing: str, *, hidden: bool) -> None:
        err = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._shown = Progress(*columns, console=err, transient=True, disable=hidden or not err.is_terminal)
        self._task = self._shown.add_task(doing, total=None)

    @contextlib.contextmanager
    def showing(self) -> Iterator[ModelProgress]:
        """Show the line; it is gone at the end."""
        with self._shown:
            yield self

    def begun(self, total: int, before: int) -> None:
        """So many bytes are to be done, of which so many were before."""
        self._shown.update(self._task, total=total, completed=before)

    def advanced(self, count: int) -> None:
        """So many bytes more."""
        self._shown.advance(self._task, count)
