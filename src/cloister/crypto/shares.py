"""M of N shares of a 32-byte secret: SLIP-39 mnemonics, made and combined by its authors' library.

Fewer than M shares tell nothing of the secret. Why this library, and what else was tried: docs/decisions/0038.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics

from cloister.errors import CloisterError, UsageError
from cloister.secret import SecretBytes

SECRET_SIZE: Final = 32  # bytes
MAXIMUM_SHARES: Final = 16  # a share's number has four bits
MAXIMUM_SHARE: Final = 512  # bytes; 33 words of at most 8 letters have 296


class SharesRefused(CloisterError):
    """Shares do not give a secret: one is no share, altered, of another secret, or there are too few or too many."""

    exit_code = 3
    status = 403


def split(secret: SecretBytes, *, threshold: int, count: int) -> tuple[SecretBytes, ...]:
    """`count` shares, any `threshold` of which give `secret`; each is 33 English words in ASCII.

    Every call draws other shares, and shares of two calls do not go together. Where one share is enough each is a set
    of its own: SLIP-39 has no second share then.

    Raises:
        UsageError: `secret` is not 32 bytes, or not 1 ≤ `threshold` ≤ `count` ≤ 16.
    """
    if len(secret) != SECRET_SIZE:
        raise UsageError(f"a secret that is shared has {SECRET_SIZE} bytes, not {len(secret)}")
    if not 1 <= threshold <= count <= MAXIMUM_SHARES:
        raise UsageError(f"{threshold} of {count} shares: there are up to {MAXIMUM_SHARES}, and no more are needed")
    if threshold == 1:
        return tuple(_split(secret, 1, 1)[0] for _ in range(count))
    return _split(secret, threshold, count)


def combine(shares: Sequence[SecretBytes], *, passphrase: bytes = b"") -> SecretBytes:
    """The secret that exactly as many shares as its threshold give; hold it against what is known of it.

    A share has a checksum, and M shares the digest of their secret in four bytes: of shares made up to pass both, four
    billion tries give one wrong secret. `passphrase` is there for published vectors; `split` uses none.

    Raises:
        SharesRefused: they give none. What a share says is in no sentence.
    """
    try:
        words = [share.reveal().decode("ascii") for share in shares]
        if any(len(one) > MAXIMUM_SHARE for one in words):
            raise SharesRefused(f"a share has at most {MAXIMUM_SHARE} bytes")
        return SecretBytes(combine_mnemonics(words, passphrase))
    except (MnemonicError, UnicodeDecodeError, ValueError, IndexError):
        # The library's sentences quote words of the shares; and what was caught would tell them to who prints a cause.
        refusal = SharesRefused(
            f"{len(shares)} shares give no secret: they are too few or too many, or one is altered or of another secret"
        )
    raise refusal from None


def _split(secret: SecretBytes, threshold: int, count: int) -> tuple[SecretBytes, ...]:
    # No stretching (exponent 0): it is the passphrase that it would protect.
    (words,) = generate_mnemonics(1, [(threshold, count)], secret.reveal(), iteration_exponent=0)
    return tuple(SecretBytes(share.encode("ascii")) for share in words)
