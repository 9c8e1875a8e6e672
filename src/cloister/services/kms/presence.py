"""One instance's own place in the log: it shows itself, says what time it is where that is awaited, and is retired."""

from __future__ import annotations

from collections.abc import Callable

from cloister.attest.evidence import EvidenceRejected
from cloister.contract.governance import time_awaited
from cloister.contract.replay import LogRefused
from cloister.errors import Unavailable
from cloister.formats.governance import WitnessedTime
from cloister.ledger.statements import sign_statement
from cloister.services.kms.epochs import LostKeys
from cloister.services.kms.instance import challenge_of
from cloister.services.kms.standing import Standing


class Presence:
    """What the log says of this instance, and lacks; the instance's lock is held meanwhile."""

    def __init__(self, standing: Standing, lost: LostKeys, withdraw: Callable[[], None]) -> None:
        """`lost` are the keys that no instance gives; `withdraw` takes back what is published."""
        self._standing = standing
        self._lost = lost
        self._withdraw = withdraw
        self.retired: EvidenceRejected | None = None  # set once the constitution in force no longer names this code
        self.retired_at = 0

    async def endorse(self) -> None:
        """Have what vendors say for this instance's own evidence, as of now; clients have no other source."""
        standing, instance = self._standing, self._standing.instance
        constitution = standing.state.constitution
        shown = instance.collected(challenge_of(standing.history.checkpoint), constitution)
        instance.endorsements = await standing.vendors.renewed(
            shown, constitution.appraisal, instance.endorsements, at=standing.now()
        )

    async def settle(self, *, started: bool) -> None:
        """Say what the log lacks: this instance under the constitution in force, and times that are awaited.

        Raises:
            EvidenceRejected: it is retired before it had `started`.
            Refused, Unavailable: the log takes nothing now, or a vendor is silent.
        """
        standing = self._standing
        if not standing.counts():
            await self._introduce(started=started)
        if self.retired is None:
            self._lost.came(standing.state.size)
            await self._tell_time()
            standing.erase_stale()

    async def _tell_time(self) -> None:
        """Log what witnesses say of time where a notice or a vote waits for that."""
        standing = self._standing
        if time_awaited(standing.state, standing.history.checkpoint):
            note = WitnessedTime(note=standing.history.checkpoint.note)
            await standing.log(sign_statement("time", note, (standing.instance.secrets.sign,)))

    async def _introduce(self, *, started: bool) -> None:
        standing = self._standing
        try:
            entry = standing.instance.introduction(standing.history.checkpoint, standing.state.constitution)
        except EvidenceRejected as refusal:
            if lacking := standing.vendors.lacking:  # a vendor that is silent retires nobody
                raise Unavailable(f"{refusal}; {len(lacking)} endorsements lack, see the log") from refusal
            self._retire(refusal, started=started)
            return
        await standing.log(entry)
        if not standing.counts():
            raise LogRefused("kms.signature", f"the log does not take this instance: {standing.state.reason}")

    def _retire(self, refusal: EvidenceRejected, *, started: bool) -> None:
        """Serve nothing any more, but hand over for a while: the successor takes over without losing a key."""
        self._withdraw()
        self.retired, self.retired_at = refusal, self._standing.now()
        self._standing.erase_stale()
        if not started:
            self._end(refusal)

    def end_in_time(self, refusal: EvidenceRejected) -> None:
        """Erase every key when the time for handing over is past, or when there is nothing to hand over.

        Raises:
            EvidenceRejected: the `refusal` that retired it, then.
        """
        over = self._standing.now() >= self.retired_at + self._standing.instance.security.handover_seconds
        if over or not (len(self._standing.keys) or self._standing.roots.held()):
            self._end(refusal)

    def _end(self, refusal: EvidenceRejected) -> None:
        self._standing.keys.erase_all()
        self._standing.roots.erase_all()
        raise refusal
