"""Which transport keys of a contract are in use: a pure function of log and time, the same for every KMS instance.

The epoch in use is the latest by number, of the contract in force, whose window has begun. The one before it is stale
from that moment, whatever its own window says, and does not come back. So whoever makes an epoch while another is in
use replaces it for everyone who sees the log: nobody can give some clients one key and some another.

The time is the one that witnesses stated with the checkpoint: no instance's clock has a say in it.
"""

from __future__ import annotations

from collections.abc import Container

from cloister.contract.state import ContractLine, EpochRecord


def active_epoch(line: ContractLine, *, at: int) -> EpochRecord | None:
    """The epoch that clients encrypt to at `at` (seconds since 1970).

    None where no window has begun, the last that began has ended, or it was revoked: an older one never takes over.
    """
    begun = [record for record in _in_force(line) if record.epoch.not_before <= at]
    if not begun or at >= begun[-1].epoch.not_after or begun[-1].placed.digest in line.revoked:
        return None
    return begun[-1]


def stale_from(line: ContractLine, record: EpochRecord) -> int:
    """When clients stop choosing it: at its window's end, or when a later one's begins."""
    later = [one.epoch.not_before for one in _in_force(line) if one.epoch.number > record.epoch.number]
    return min([record.epoch.not_after, *later])


def gone_from(line: ContractLine, record: EpochRecord) -> int:
    """When its key is erased: as long after it is stale as its statement says, and never later than that says."""
    stale_seconds = record.epoch.stale_until - record.epoch.not_after
    return min(record.epoch.stale_until, stale_from(line, record) + stale_seconds)


def living_epochs(line: ContractLine, *, at: int) -> tuple[EpochRecord, ...]:
    """Those whose keys are kept at `at`: pending, active or stale, of the contract in force, not revoked."""
    return tuple(
        record
        for record in _in_force(line)
        if record.placed.digest not in line.revoked and at < gone_from(line, record)
    )


def shown_epochs(line: ContractLine, *, at: int) -> tuple[EpochRecord, ...]:
    """Those that a bundle shows: from the first living one to the last, each naming the one before.

    What was revoked among them is shown, too, and the state head says that it is.
    """
    living = [record.epoch.number for record in living_epochs(line, at=at)]
    return tuple(record for record in _in_force(line) if living and living[0] <= record.epoch.number <= living[-1])


def covered_until(line: ContractLine, *, at: int, lost: Container[bytes] = ()) -> int:
    """Until when from `at` on there is always an epoch in use; `at` itself where there is none then.

    An epoch whose entry's digest is among the `lost` ones covers nothing, since its key is gone.
    """
    while (active := active_epoch(line, at=at)) is not None and active.placed.digest not in lost:
        at = stale_from(line, active)
    return at


def _in_force(line: ContractLine) -> list[EpochRecord]:
    return [record for record in line.epochs if record.epoch.contract == line.digest and not line.ended]
