"""Custody in a KMS instance: it has, recovers, makes and seals root secrets, as the log wants them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence

import structlog

from cloister.contract.custody_records import RootRecord, root_due
from cloister.contract.recovery import RecoveredRoot, earlier_secrets, examine_recovery, examine_share
from cloister.contract.state import ContractLine
from cloister.crypto.cose import sign1
from cloister.crypto.merkle import GrowingTree, inclusion_path
from cloister.formats import canonical
from cloister.formats.custody import Recovery
from cloister.formats.custody_messages import INTAKE_TYPE, Intake, IntakeHead
from cloister.formats.key_bundle import LoggedEntry
from cloister.formats.refusal import Refusal
from cloister.hosting.allowance import TooMuch
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.secret import SecretBytes
from cloister.services.kms.refusals import failed_of, refused_share
from cloister.services.kms.roots import in_use_of, new_root
from cloister.services.kms.sealed_roots import SealedCopy
from cloister.services.kms.standing import Standing


class Custody:
    """One instance's root secrets, as the log wants them."""

    def __init__(self, standing: Standing, sealed: SealedCopy) -> None:
        if sealed.lacking:
            structlog.get_logger().info("root secrets are not sealed to the platform", reason=sealed.lacking)
        self._standing = standing
        self._sealed = sealed
        self._unsealed: Mapping[bytes, SecretBytes] | None = None  # what the copy held at the start
        self._tried: dict[bytes, tuple[Recovery, ...]] = {}  # the shares with which recovery was tried last, by line
        self._went_back: dict[bytes, bytes] = {}  # the root from which the ones before were looked for last, by line
        self._sealed_all = True  # whether the copy on disk has what is held

    async def recover(self, lock: asyncio.Lock) -> None:
        """Bring back what custodians gave, and from each generation the one before. Nobody waits for that.

        It takes milliseconds for each share and generation: on another thread, and the `lock` is held only to log who
        gave what is not its share.

        Raises:
            Refused, Unavailable: the log takes nothing now; nothing is lost.
        """
        for name, line in self._standing.lines().items():
            if (latest := line.custody.latest) is not None:
                wrong = await self._combine(name, line, latest)
                async with lock:
                    await self._blame(wrong)
                await self._go_back(name, line, latest)

    async def settle(self) -> None:
        """Take in what can be had, make what is due, seal what is held; whoever calls holds the instance's lock.

        Raises:
            Refused, Unavailable: the log takes nothing now; nothing is lost.
        """
        roots, lines = self._standing.roots, self._standing.lines()
        changed = roots.settle(lines.values())
        for name, line in lines.items():
            changed |= self._unseal(line)
            if self._is_due(line):
                await self._make(name, line)
                changed = True
        if changed:
            roots.settle(self._standing.lines().values())
        if changed or not self._sealed_all:
            self._sealed_all = self._sealed.store(roots.all())

    async def have_root(self, name: bytes) -> None:
        """Make the first root secret of a line that keeps no assets and wants an authority; raises as `settle`."""
        line = self._standing.state.lines[name]
        if line.custody.latest is None:
            await self._make(name, line)
        await self.settle()

    def intakes(self) -> Mapping[bytes, bytes]:
        """What owners ask for, by line: the latest root at this checkpoint, and this instance's word on it."""
        found = {}
        for name, line in self._standing.lines().items():
            if (latest := line.custody.latest) is not None:
                found[name] = self._intake(name, latest)
        return found

    def _unseal(self, line: ContractLine) -> bool:
        if self._unsealed is None:
            self._unsealed = self._sealed.load()
        changed = False
        for record in in_use_of(line):
            secret = self._unsealed.get(record.placed.digest)
            changed |= secret is not None and self._standing.roots.hold(record, secret)
        return changed

    async def _combine(self, name: bytes, line: ContractLine, latest: RootRecord) -> list[Refusal]:
        """Have the secret, if the shares give it; what is to be said of those given anew that are none."""
        roots, instance = self._standing.roots, self._standing.instance
        given = tuple(one for one in line.custody.recoveries if one.instance == instance.key)
        if roots.get(latest) is not None or not given or given == self._tried.get(name):
            return []
        log, wrap = structlog.get_logger(), instance.secrets.wrap
        wrong = []
        for one in (one for one in given if one not in self._tried.get(name, ())):
            judged = await asyncio.to_thread(examine_share, latest.root, one, wrap)
            if judged.failed:
                log.warning("a custodian gave what is not its share", custodian=one.custodian, failed=judged.failed)
                wrong.append(refused_share(one, failed_of(judged), at=self._standing.now()))
        self._tried[name] = given
        examination = await asyncio.to_thread(examine_recovery, line, instance=instance.key, key=wrap)
        if examination.failed:
            log.info("shares were given, and no root secret yet", failed=examination.failed, shares=len(given))
            return wrong
        log.info("custodians recovered a root secret", generation=latest.root.generation)
        self._hold(latest, examination.require())
        return wrong

    async def _blame(self, wrong: Sequence[Refusal]) -> None:
        for one in wrong:
            with contextlib.suppress(TooMuch):  # then it is counted
                self._standing.refusals.note(one)
        if wrong:
            await self._standing.log_refusals()

    async def _go_back(self, name: bytes, line: ContractLine, latest: RootRecord) -> None:
        roots = self._standing.roots
        secret, all_held = roots.get(latest), all(roots.get(record) is not None for record in in_use_of(line))
        if secret is None or all_held or self._went_back.get(name) == latest.placed.digest:
            return
        self._went_back[name] = latest.placed.digest
        for found in await asyncio.to_thread(list, earlier_secrets(line, latest, secret)):
            if (record := line.custody.root(found.generation)) is not None:
                self._hold(record, found)

    def _hold(self, record: RootRecord, found: RecoveredRoot) -> None:
        if self._standing.roots.hold(record, found.secret):
            self._sealed_all = False

    def _is_due(self, line: ContractLine) -> bool:
        """Whether to make the next: not because the last was lost, unless a party asks, or there was none."""
        latest = line.custody.latest
        asked = latest is None or line.custody.asked == latest.root.generation
        held = latest is not None and self._standing.roots.get(latest) is not None
        return (asked or held) and root_due(line.current, line.custody)

    async def _make(self, name: bytes, line: ContractLine) -> None:
        """Log the next root. Where another instance was first, the log takes only that one."""
        standing = self._standing
        latest = line.custody.latest
        before = None if latest is None else standing.roots.get(latest)
        root, secret = new_root(name, line, before, at=standing.now())
        entry = sign_statement("root", root, (standing.instance.secrets.sign,))
        standing.roots.expect(entry_digest(entry), secret)
        await standing.log(entry)

    def _intake(self, name: bytes, latest: RootRecord) -> bytes:
        standing = self._standing
        log = standing.history.log
        head = IntakeHead(
            checkpoint=hashlib.sha256(log.checkpoint.note).digest(),
            contract=name,
            root=latest.placed.digest,
            generation=latest.root.generation,
            held=standing.roots.get(latest) is not None,
            at=standing.now(),
        )
        signed = sign1(standing.instance.secrets.sign, canonical.encode(head), content_type=INTAKE_TYPE)
        path = _path(log.tree, latest.placed.index)
        logged = LoggedEntry(index=latest.placed.index, entry=latest.placed.entry, path=path)
        return canonical.encode(Intake(checkpoint=log.checkpoint.note, root=logged, head=signed))


def _path(tree: GrowingTree, index: int) -> tuple[bytes, ...]:
    return inclusion_path(index, tree.size, tree.subtree)
