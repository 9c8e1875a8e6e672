"""Windows of epochs and certificates, held against the KMS's attested settings, the contract, the epoch before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cloister.contract.audit.findings import Finding
from cloister.contract.audit.taken import Taken
from cloister.contract.audit.times import SLACK
from cloister.contract.state import ContractLine, EpochRecord, line_in_force
from cloister.formats.evidence import parse_evidence
from cloister.formats.identity import Identity
from cloister.formats.release import Epoch, KmsInstance


class Windows:
    """What each instance's evidence says of the windows that it makes."""

    def __init__(self) -> None:
        self._settings: dict[bytes, Mapping[str, str | int | bool]] = {}  # by the instance's signing key

    def take(self, taken: Taken) -> Iterator[Finding]:
        """Hold an epoch or identity that counts against what its KMS was attested to do."""
        record = taken.record
        if not taken.counts:
            return
        if isinstance(record, KmsInstance):
            evidence = parse_evidence(record.evidence)
            self._settings[evidence.keys.sign] = evidence.settings.values
        if isinstance(record, Epoch):
            for shortfall in self._shortfalls(taken, record):
                yield taken.finding("fault", "audit.window", shortfall)
        if isinstance(record, Identity):
            (signer,) = taken.statement.signers
            attested, life = self._settings.get(signer, {}).get("identity_seconds"), record.not_after - record.at
            if isinstance(attested, int) and life > attested:
                says = f"a certificate for {life} s, its KMS is attested to issue them for {attested}"
                yield taken.finding("fault", "audit.window", says)

    def _shortfalls(self, taken: Taken, epoch: Epoch) -> Iterator[str]:
        (signer,) = taken.statement.signers
        _, line = line_in_force(taken.before, epoch.contract)
        behind = taken.before.time - epoch.not_before
        if behind > SLACK:
            yield f"epoch {epoch.number} begins {behind} s before what witnesses had said by then: it is backdated"
        if epoch.not_after > line.current.not_after:
            yield f"epoch {epoch.number} outlives its contract"
        yield from self._too_long(epoch, self._settings.get(signer, {}))
        before = _before(line, signer)
        if before is not None and epoch.not_before < before.epoch.not_after:
            yield f"epoch {epoch.number} begins before epoch {before.epoch.number} of the same KMS instance ends"

    def _too_long(self, epoch: Epoch, settings: Mapping[str, str | int | bool]) -> Iterator[str]:
        parts = (
            ("epoch_seconds", "is active", epoch.not_after - epoch.not_before),
            ("stale_seconds", "is opened with afterwards", epoch.stale_until - epoch.not_after),
        )
        for name, words, seconds in parts:
            attested = settings.get(name)
            if isinstance(attested, int) and seconds > attested:
                yield f"epoch {epoch.number} {words} for {seconds} s, its KMS is attested to take {attested}"


def _before(line: ContractLine, signer: bytes) -> EpochRecord | None:
    """The epoch before, if this instance made it for the same contract, and nobody took it back: its key is there."""
    latest = line.epochs[-1] if line.epochs else None
    if latest is None or (latest.instance, latest.epoch.contract) != (signer, line.digest):
        return None
    return None if latest.placed.digest in line.revoked else latest
