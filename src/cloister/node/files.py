"""The files a node starts from: the platform key's seed, and lists of signed entries."""

from __future__ import annotations

from pathlib import Path

from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.ledger_messages import parse_entries
from cloister.secret import SecretBytes

SEED_SIZE = 32  # bytes


def read_seed(path: Path) -> SigningKey:
    """The Ed25519 key whose 32-byte seed is the file at `path`.

    Raises:
        UsageError: it cannot be read, or is no seed.
    """
    seed = SecretBytes(_read(path, limit=SEED_SIZE))
    if len(seed) != SEED_SIZE:
        raise UsageError(f"{path} has {len(seed)} bytes; an Ed25519 seed has {SEED_SIZE}")
    return SigningKey.from_seed(seed)


def read_entries(path: Path) -> tuple[bytes, ...]:
    """The signed entries in the file at `path`, first to current: a deterministic CBOR list, at most 4 MiB.

    Raises:
        UsageError: it cannot be read, is malformed, or holds no entry.
    """
    try:
        entries = parse_entries(_read(path, limit=4 * 1024 * 1024))
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no list of signed entries: {error}") from error
    if not entries:
        raise UsageError(f"{path} holds no entry")
    return entries


def _read(path: Path, *, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
