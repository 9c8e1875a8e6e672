"""Who may use a proxy: whoever shows the one token, or one of a folder's, each of which belongs to a caller by name."""

from __future__ import annotations

import hmac
import os
import re
import stat
from pathlib import Path
from typing import Protocol

from cloister.errors import UsageError
from cloister.secret import SecretBytes

MINIMUM_TOKEN = 16  # bytes
MAXIMUM_TOKEN = 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


class Callers(Protocol):
    """Those who may call."""

    def name_of(self, token: bytes) -> str | None:
        """The caller whose token this is, empty where there is but one; None where it is nobody's."""


class OneCaller:
    """Whoever has the token."""

    def __init__(self, token: SecretBytes) -> None:
        self._token = token

    def name_of(self, token: bytes) -> str | None:
        """Empty, or None."""
        return "" if hmac.compare_digest(token, self._token.reveal()) else None


class CallersFolder:
    """One file for each caller, named as the caller, whose content is the token.

    Files that come, go or change count from the next request on: taking a file away shuts its caller out.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder.

        Raises:
            UsageError: it cannot be read, others may read it, a name or a token is none, or two callers share a token.
        """
        self._folder = folder
        self._seen: tuple[object, ...] = ()
        self._tokens: dict[str, SecretBytes] = {}
        self._read()

    def name_of(self, token: bytes) -> str | None:
        """The name of the caller's file. A folder that cannot be read any more lets nobody in."""
        try:
            self._read()
        except UsageError:
            return None
        found = None
        for name, own in self._tokens.items():  # all of them, however early one fits: the time says nothing
            if hmac.compare_digest(token, own.reveal()):
                found = name
        return found

    def _read(self) -> None:
        seen = self._look()
        if seen != self._seen:
            self._seen, self._tokens = (), {}
            tokens = {path.name: read_token(path) for path in self._files()}
            if len({own.reveal() for own in tokens.values()}) != len(tokens):
                raise UsageError(f"two callers in {self._folder} have the same token: give each its own")
            self._seen, self._tokens = seen, tokens

    def _look(self) -> tuple[object, ...]:
        try:
            mode = self._folder.stat().st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise UsageError(f"the folder of tokens {self._folder} is open to others: chmod 700 it")
            return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in self._files())
        except OSError as error:
            raise UsageError(f"the folder of tokens {self._folder} cannot be read: {error.strerror}") from error

    def _files(self) -> list[Path]:
        files = sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        for path in files:
            if not _NAME.fullmatch(path.name):
                raise UsageError(f"{path} names no caller: use lower-case letters, digits and . _ @ -")
        return files


def open_callers(path: Path) -> Callers:
    """The callers of a file with one token, or of a folder with one for each of them.

    Raises:
        UsageError: as `read_token` and `CallersFolder`; others may read the file.
    """
    if path.is_dir():
        return CallersFolder(path)
    token = read_token(path)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(f"the token {path} is readable by others: chmod 600 it")
    return OneCaller(token)


def read_token(path: Path) -> SecretBytes:
    """The bearer token in the file at `path`.

    Raises:
        UsageError: it cannot be read, or is too short or too long to be one.
    """
    try:
        with path.open("rb") as file:
            token = file.read(MAXIMUM_TOKEN + 1).strip()
    except OSError as error:
        raise UsageError(f"the token {path} cannot be read: {error.strerror}") from error
    if not MINIMUM_TOKEN <= len(token) <= MAXIMUM_TOKEN:
        raise UsageError(f"the token in {path} has {len(token)} bytes, {MINIMUM_TOKEN} to {MAXIMUM_TOKEN} are needed")
    return SecretBytes(token)
