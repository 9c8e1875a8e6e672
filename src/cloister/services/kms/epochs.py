"""Transport keys by epoch: in this process's memory only, made when due, dropped when stale.

Which epoch is due is a pure function of the log's state and the time. Nothing stores or hands on these keys but
releases; when the process ends they are gone, and the next instance begins a new epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass

from cloister.contract.state import ContractLine, EpochRecord
from cloister.crypto.hpke import KemPrivateKey
from cloister.formats import key_config
from cloister.formats.key_config import KeyConfig
from cloister.formats.release import Epoch
from cloister.services.kms.security import KmsSecurity

KEY_IDS = 256  # an RFC 9458 key id has one byte


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

    def hold(self, epoch: bytes, key: KemPrivateKey) -> None:
        """Keep the key of the epoch whose entry has this digest."""
        self._keys[epoch] = key

    def get(self, epoch: bytes) -> KemPrivateKey | None:
        """The key, if it is held."""
        return self._keys.get(epoch)

    def erase_all_but(self, epochs: Collection[bytes]) -> int:
        """Drop every other key; how many went."""
        gone = [epoch for epoch in self._keys if epoch not in epochs]
        for epoch in gone:
            del self._keys[epoch]
        return len(gone)

    def __contains__(self, epoch: object) -> bool:
        return epoch in self._keys

    def __len__(self) -> int:
        return len(self._keys)


def own_epochs(line: ContractLine, keys: Container[bytes], *, at: int) -> list[EpochRecord]:
    """The epochs in life at `at`: of the contract in force, not revoked, not past their stale window, key held here."""
    contract = line.current.digest()
    return [
        record
        for record in line.epochs
        if record.placed.digest in keys
        and record.epoch.contract == contract
        and record.placed.digest not in line.revoked
        and at < record.epoch.stale_until
    ]


def active_epoch(own: Sequence[EpochRecord], *, at: int) -> EpochRecord | None:
    """The one that clients encrypt to: the latest within its window."""
    within = [record for record in own if record.epoch.not_before <= at < record.epoch.not_after]
    return within[-1] if within else None


def due_window(line: ContractLine, own: Sequence[EpochRecord], security: KmsSecurity, *, at: int) -> Window | None:
    """The window of the epoch to be made now; None where none is due, or the contract is not in force.

    The next epoch begins when the last ends, and is made `pending_seconds` before, so that gateways have its key when
    the first client encrypts to it. Windows end with the contract.
    """
    contract = line.current
    if not contract.not_before <= at < contract.not_after:
        return None
    last_end = max((record.epoch.not_after for record in own), default=0)
    if last_end - security.pending_seconds > at or last_end >= contract.not_after:
        return None
    begin = max(last_end, at)
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
