"""Makes the next transport key of each contract line, when one is due."""

from __future__ import annotations

from cloister.crypto.hpke import KemPrivateKey
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.services.kms.epochs import LostKeys, due_window, next_epoch
from cloister.services.kms.standing import Standing


class DueEpochs:
    """Begins epochs for one instance, which holds its lock meanwhile."""

    def __init__(self, standing: Standing, lost: LostKeys) -> None:
        """`lost` are the keys that no instance gives."""
        self._standing = standing
        self._lost = lost

    async def begin(self) -> None:
        """Make what is due, and erase what is stale.

        Raises:
            Refused, Unavailable: the log takes nothing now; what was begun before is whole.
        """
        for name in self._standing.lines():
            await self._begin(name)
        self._standing.erase_stale()

    async def _begin(self, name: bytes) -> None:
        """Make the next key where one is due. Where another instance was first, the log takes only that one."""
        standing, security = self._standing, self._standing.instance.security
        line, now = standing.state.lines[name], standing.now()
        lost = self._lost.among(line, at=now)
        witnessed = standing.history.checkpoint.cosigned_at
        window = due_window(line, security, at=now, witnessed=witnessed, lost=lost)
        if window is None:
            return
        key = KemPrivateKey.generate(security.kem)
        epoch = next_epoch(line, window, key.public, kem=security.kem)
        entry = sign_statement("epoch", epoch, (standing.instance.secrets.sign,))
        standing.keys.expect(entry_digest(entry), key, epoch)  # whoever sees it in the log may ask for it
        await standing.log(entry)
        self._lost.replaced(line, lost)
