"""Keys in files, readable by their owner only; those of Ed25519 and ML-DSA-44 as the 32 raw bytes of the seed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.sealed_stream import KEY_SIZE
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.secret import SecretBytes


def read_signing_key(path: Path) -> SigningKey:
    """The key in `path`.

    Raises:
        UsageError: it cannot be read, others may read it, or it is not a seed.
    """
    return SigningKey.from_seed(_seed(path, "an Ed25519 seed, as a party's sign.seed does"))


def read_ml_dsa_key(path: Path) -> MlDsaKey:
    """The key in `path`; raises as `read_signing_key`."""
    return MlDsaKey.from_seed(_seed(path, "an ML-DSA-44 seed"))


def _seed(path: Path, kind: str) -> SecretBytes:
    seed = read_secret(path, limit=32)
    if len(seed) != 32:
        raise UsageError(f"the key file {path} does not hold the 32 bytes of {kind}")
    return seed


def read_model_key(path: Path) -> SecretBytes:
    """The key of a sealed model: 32 bytes and nothing else.

    Raises:
        UsageError: it cannot be read, others may read it, or it is none.
    """
    key = read_secret(path, limit=KEY_SIZE, what="model's key")
    if len(key) != KEY_SIZE:
        raise UsageError(f"{path} is no model's key: it has {KEY_SIZE} bytes (cloister model seal writes one)")
    return key


def write_signing_key(path: Path, key: SigningKey | MlDsaKey) -> None:
    """Write `key` to a new file; raises as `write_secret`."""
    write_secret(path, key.seed)


def read_secret(path: Path, *, limit: int, what: str = "key file") -> SecretBytes:
    """What is in `path`, which is a `what` in messages; of a longer file `limit` bytes and one more.

    Raises:
        UsageError: it cannot be read, or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = SecretBytes(file.read(limit + 1))
    except OSError as error:
        raise UsageError(f"the {what} {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError(f"the {what} {path} is readable by others (mode {mode:o}); make it 600")
    return secret


def write_secret(path: Path, secret: SecretBytes, *, what: str = "key file") -> None:
    """Write `secret` to a new file, mode 0600, on disk when it returns: whole, or not there at all.

    It is a `what` in messages.

    Raises:
        UsageError: the file exists or cannot be made.
        OSError: there is no room for it; it names the file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret.reveal())
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # fails where there is one, which a rename would replace
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise UsageError(f"the {what} {path} cannot be made: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
