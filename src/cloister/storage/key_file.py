"""Signing keys in files: the 32 raw bytes of an Ed25519 seed, readable by their owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.secret import SecretBytes


def read_signing_key(path: Path) -> SigningKey:
    """The key in `path`.

    Raises:
        UsageError: it cannot be read, others may read it, or it is not a seed.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            seed = file.read(33)
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError(f"the key file {path} is readable by others (mode {mode:o}); make it 600")
    if len(seed) != 32:
        raise UsageError(f"the key file {path} does not hold the 32 bytes of an Ed25519 seed")
    return SigningKey.from_seed(SecretBytes(seed))


def write_signing_key(path: Path, key: SigningKey) -> None:
    """Write `key` to a new file, mode 0600, on disk when it returns.

    Raises:
        UsageError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.seed.reveal())
        file.flush()
        os.fsync(file.fileno())
