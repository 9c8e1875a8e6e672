"""RSA keys that are made up from a seed, the same in every process: for tests, and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

_EXPONENT: Final = 65537
_BITS: Final = 1024  # of each prime
_SMALL: Final = tuple(
    number for number in range(3, 2000, 2) if all(number % one for one in range(3, 45, 2) if one < number)
)
_WITNESSES: Final = 8  # of Miller and Rabin; numbers drawn from a hash are no adversary's


@cache
def made_rsa_key(seed: str) -> rsa.RSAPrivateKey:
    """The key of 2,048 bits of this seed; about a third of a second the first time."""
    primes = (number for number in _candidates(seed) if _is_prime(number))
    p, q = next(primes), next(primes)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    rest = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *rest, public).private_key()


def _candidates(seed: str) -> Iterator[int]:
    """Odd numbers with both upper bits set, so that two of them make 2,048 bits, and fit for the exponent."""
    for number in count():
        drawn = int.from_bytes(hashlib.shake_256(f"{seed} {number}".encode()).digest(_BITS // 8), "big")
        candidate = drawn | 3 << (_BITS - 2) | 1
        if candidate % _EXPONENT != 1:
            yield candidate


def _is_prime(number: int) -> bool:
    if any(number % small == 0 for small in _SMALL):
        return False
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    odd = (number - 1) >> twos
    return all(_passes(number, witness, odd, twos) for witness in range(2, 2 + _WITNESSES))


def _passes(number: int, witness: int, odd: int, twos: int) -> bool:
    """One round of Miller and Rabin's test."""
    power = pow(witness, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
