"""Transport keys by epoch: in this process's memory only, made when due, dropped when stale.

Which epoch is in use, `contract.epochs` says for every instance alike; here is when one makes the next. Keys leave by
releases to nodes and handovers to other instances; when the last process that holds one ends, it is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass

from cloister.contract.epochs import covered_until, living_epochs
from cloister.contract.state import ContractLine, EpochRecord
from cloister.crypto.hpke import KemPrivateKey
from cloister.formats import key_config
from cloister.formats.key_config import KeyConfig
from cloister.formats.release import Epoch
from cloister.services.kms.security import KmsSecurity

KEY_IDS = 256  # an RFC 9458 key id has one byte
FIRST_WAIT, LONGEST_WAIT = 30, 3600  # seconds; doubled with each key that was given up


@dataclass(frozen=True, slots=True)
class Window:
    """When an epoch is used: clients choose it from `not_before` to `not_after`, gateways open until `stale_until`."""

    not_before: int
    not_after: int
    stale_until: int


class EpochKeys:
    """The private keys, by the digest of their epoch's entry.

    Erasing drops the last reference; CPython then frees the memory without overwriting it. It stays inside the TEE.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, KemPrivateKey] = {}
        self._unborn: dict[bytes, tuple[KemPrivateKey, Epoch]] = {}

    def expect(self, digest: bytes, key: KemPrivateKey, epoch: Epoch) -> None:
        """Keep the key of an epoch that is about to be logged: an answer that is lost does not take it along."""
        self._unborn[digest] = (key, epoch)

    def settle(self, lines: Collection[ContractLine], *, at: int) -> None:
        """Keep the keys of living epochs and no others, but for those that the log may still take in."""
        living = {record.placed.digest for line in lines for record in living_epochs(line, at=at)}
        self._keys.update((digest, key) for digest, (key, _) in self._unborn.items() if digest in living)
        numbers = {line.digest: len(line.epochs) and line.epochs[-1].epoch.number for line in lines}
        self._unborn = {
            digest: (key, epoch)
            for digest, (key, epoch) in self._unborn.items()
            if at < epoch.stale_until and numbers.get(epoch.contract, epoch.number) < epoch.number
        }
        self.erase_all_but(living)

    def hold(self, epoch: bytes, key: KemPrivateKey) -> None:
        """Keep the key of the epoch whose entry has this digest."""
        self._keys[epoch] = key

    def get(self, epoch: bytes) -> KemPrivateKey | None:
        """The key, if it is held."""
        return self._keys.get(epoch)

    def held(self) -> frozenset[bytes]:
        """The digests of the epochs whose keys are held."""
        return frozenset(self._keys)

    def erase_all_but(self, epochs: Collection[bytes]) -> int:
        """Drop every other key that the log speaks of; how many went."""
        gone = [epoch for epoch in self._keys if epoch not in epochs]
        for epoch in gone:
            del self._keys[epoch]
        return len(gone)

    def erase_all(self) -> None:
        """Drop every key."""
        self._keys.clear()
        self._unborn.clear()

    def __contains__(self, epoch: object) -> bool:
        return epoch in self._keys

    def __len__(self) -> int:
        return len(self._keys)


class LostKeys:
    """Which epochs' keys nobody gives: another epoch takes their place.

    What was there when this instance came is lost as soon as nobody gave it. What others made since is waited for:
    two instances that cannot reach each other would otherwise replace each other's epochs for ever. Each key given up
    doubles the wait; one that was given ends it.
    """

    def __init__(self, first_wait: int = FIRST_WAIT) -> None:
        """`first_wait` in seconds, from 1 to 30: by far less than an epoch is pending."""
        self._first_wait = min(max(first_wait, 1), FIRST_WAIT)
        self._since: dict[bytes, int] = {}  # when a key was asked for in vain first, by the digest of its epoch's entry
        self._given_up = 0  # since somebody gave one
        self._came = 0

    def came(self, size: int) -> None:
        """The log took this instance in; it had so many entries then. What is said later changes nothing."""
        self._came = self._came or size

    def asked_in_vain(self, lacking: Iterable[EpochRecord], *, at: int) -> None:
        """Everyone who could have these keys was asked for them, and nobody gave them."""
        digests = {record.placed.digest for record in lacking}
        self._since = {digest: since for digest, since in self._since.items() if digest in digests}
        for digest in digests:
            self._since.setdefault(digest, at)

    def given(self) -> None:
        """Somebody gave a key."""
        self._since, self._given_up = {}, 0

    def replaced(self, line: ContractLine, lost: Container[bytes]) -> None:
        """An epoch was made in place of the line's `lost` ones."""
        if any(record.placed.digest in lost and record.placed.index >= self._came for record in line.epochs):
            self._given_up = min(self._given_up + 1, 16)

    def among(self, line: ContractLine, *, at: int) -> frozenset[bytes]:
        """Those of the line's epochs whose keys are lost."""
        wait = min(self._first_wait * 2**self._given_up, LONGEST_WAIT)
        return frozenset(
            record.placed.digest
            for record in line.epochs
            if (since := self._since.get(record.placed.digest)) is not None
            and (record.placed.index < self._came or at >= since + wait)
        )


def due_window(
    line: ContractLine, security: KmsSecurity, *, at: int, witnessed: int, lost: Container[bytes] = ()
) -> Window | None:
    """The window of the epoch to be made now; None where none is due, or the contract is not in force.

    The next epoch begins when the one in use ends, and is made `pending_seconds` before, so that gateways have its key
    when the first client encrypts to it. Where none is in use, or the key of that is `lost`, it begins at the time that
    witnesses stated last, so that it is in use at the very checkpoint that has it. Windows end with the contract.
    """
    contract = line.current
    if not contract.not_before <= at < contract.not_after:
        return None
    begin = max(covered_until(line, at=witnessed, lost=lost), contract.not_before)
    if begin - security.pending_seconds > at or begin >= contract.not_after:
        return None
    end = min(begin + security.epoch_seconds, contract.not_after)
    return Window(begin, end, end + security.stale_seconds)


def next_epoch(line: ContractLine, window: Window, public: bytes, *, kem: int) -> Epoch:
    """The statement that a transport key was born, in its place in the chain."""
    last = line.epochs[-1] if line.epochs else None
    number = last.epoch.number + 1 if last else 1
    config = KeyConfig(number % KEY_IDS, kem, public)
    return Epoch(
        contract=line.current.digest(),
        number=number,
        previous=last.placed.digest if last else b"",
        key_config=key_config.encode(config),
        not_before=window.not_before,
        not_after=window.not_after,
        stale_until=window.stale_until,
    )
