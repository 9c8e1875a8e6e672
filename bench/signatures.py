"""Signed statements for benches, and the raw rate at which a machine checks their signatures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloister.crypto.signing import SigningKey
from cloister.formats.cose_sign1 import CoseSign1, sig_structure
from cloister.formats.release import Revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import open_statement, sign_statement

PROCESSORS = len(os.sched_getaffinity(0))
SIGNERS = [SigningKey.generate() for _ in range(4)]
RAW_SECONDS = 0.6


def entry(number: int) -> bytes:
    """A new signed statement, as one party's revocation of something: about 300 bytes."""
    record = Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="a bench")
    return sign_statement("revocation", record, [SIGNERS[number % len(SIGNERS)]])


def entries(numbers: range) -> list[bytes]:
    """So many of them."""
    return [entry(number) for number in numbers]


@dataclass(frozen=True, slots=True)
class Rate:
    """Checks a second, and the CPU time of one in microseconds."""

    per_second: float
    cpu_us: float


class RawRate:
    """Goes round a sample of entries."""

    def __init__(self, pool: ProcessPoolExecutor, sample: Sequence[bytes]) -> None:
        self._pool = pool
        self._sample = sample

    def verified(self, processes: int) -> Rate:
        """Their Ed25519 signatures, parsed beforehand, in so many processes at once."""
        return self._rate(verifying, processes)

    def opened(self, processes: int) -> Rate:
        """All that a check of an entry is: parsing, COSE, signature."""
        return self._rate(opening, processes)

    def _rate(self, prepare: Callable[[Sequence[bytes]], list[Callable[[], object]]], processes: int) -> Rate:
        asked = [self._pool.submit(go_round, prepare, self._sample) for _ in range(processes)]
        found = [one.result() for one in asked]
        cpu, done = sum(spent for _, _, spent in found), sum(count for count, _, _ in found)
        return Rate(sum(count / wall for count, wall, _ in found), cpu / done * 1e6)


def verifying(sample: Sequence[bytes]) -> list[Callable[[], object]]:
    """For each entry: its signature verified."""
    return [_verification(one) for one in sample]


def _verification(one: bytes) -> Callable[[], object]:
    statement = parse_statement(one)
    cose = CoseSign1.parse(statement.signatures[0])
    key, message = Ed25519PublicKey.from_public_bytes(cose.kid), sig_structure(cose.protected, statement.payload)
    return lambda: key.verify(cose.signature, message)


def opening(sample: Sequence[bytes]) -> list[Callable[[], object]]:
    """For each entry: all that checks it."""
    return [lambda one=one: open_statement(one) for one in sample]  # type: ignore[misc]


def go_round(
    prepare: Callable[[Sequence[bytes]], list[Callable[[], object]]], sample: Sequence[bytes]
) -> tuple[int, float, float]:
    """Checks, and the seconds and CPU seconds that they took."""
    actions = prepare(sample)
    done, begin, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begin < RAW_SECONDS:
        for action in actions[:32]:
            action()
        actions = actions[32:] + actions[:32]
        done += 32
    return done, time.monotonic() - begin, time.process_time() - cpu
