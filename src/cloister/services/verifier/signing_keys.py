"""The keys that sign tokens: one at a time, each shown before it signs and until its last token is over.

One file each in a folder, `<seconds since 1970 from which it signs>.key`, so that a start needs nothing but the folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cloister.crypto.es384 import Es384Key
from cloister.errors import MalformedInput, UsageError
from cloister.storage.key_file import read_secret, write_secret

SHOWN_AHEAD_SECONDS: Final = 900  # three times as long as caches may keep the key set
KEPT_SECONDS: Final = 600  # after its successor began: a token's life, and a clock that is behind

_NAME: Final = re.compile(r"([0-9]{1,12})\.key")
_MAXIMUM_DER: Final = 1024  # bytes; a P-384 key has 185


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key, and from when on it signs."""

    since: int  # seconds since 1970
    key: Es384Key
    path: Path


class SigningKeys:
    """The keys in one folder. Times are seconds since 1970."""

    def __init__(self, folder: Path, held: list[HeldKey], *, key_seconds: int) -> None:
        """`held` in the order of `since`, at least one."""
        self._folder = folder
        self._held = held
        self._key_seconds = key_seconds

    @classmethod
    def open(cls, folder: Path, *, key_seconds: int, at: int) -> Self:
        """The keys of `folder`, which is made, with a first key that signs from `at` on, where there is none.

        Raises:
            UsageError: a file is no key, others may read it, or the folder cannot be used.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            named = {path: _NAME.fullmatch(path.name) for path in folder.iterdir() if not path.name.startswith(".")}
        except OSError as error:
            raise UsageError(f"the folder of signing keys {folder} cannot be used: {error.strerror}") from error
        unknown = [path for path, name in named.items() if name is None]
        if unknown:
            raise UsageError(f"{unknown[0]} is no signing key, and nothing else belongs into its folder: move it away")
        held = [_read(path, int(name[1])) for path, name in named.items() if name is not None]
        held.sort(key=lambda one: one.since)
        return cls(folder, held or [_make(folder, at)], key_seconds=key_seconds)

    def signer(self, *, at: int) -> Es384Key:
        """The key that signs at `at`: the newest whose time has come."""
        return self._active(at).key

    def shown(self) -> list[bytes]:
        """The public keys of the key set, the oldest first."""
        return [held.key.public for held in self._held]

    def turn(self, *, at: int) -> None:
        """Make the next key when it is time to show it, forget what is over; to be called now and then.

        Raises:
            UsageError, OSError: the folder takes no new key; those that are there go on.
        """
        active = self._active(at)
        if active is self._held[-1] and at >= active.since + self._key_seconds - SHOWN_AHEAD_SECONDS:
            self._held.append(_make(self._folder, at + SHOWN_AHEAD_SECONDS))
        if at >= active.since + KEPT_SECONDS:
            while self._held[0] is not active:
                self._held.pop(0).path.unlink(missing_ok=True)

    def _active(self, at: int) -> HeldKey:
        due = [held for held in self._held if held.since <= at]
        return due[-1] if due else self._held[0]  # a clock that was set back


def _make(folder: Path, since: int) -> HeldKey:
    key = Es384Key.generate()
    path = folder / f"{since}.key"
    write_secret(path, key.to_der())
    return HeldKey(since, key, path)


def _read(path: Path, since: int) -> HeldKey:
    try:
        return HeldKey(since, Es384Key.from_der(read_secret(path, limit=_MAXIMUM_DER)), path)
    except MalformedInput as error:
        raise UsageError(f"{path} is damaged ({error}): move it away, another key is made at the start") from error
