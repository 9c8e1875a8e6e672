"""KMS instances and their epochs in the fold."""

from __future__ import annotations

from dataclasses import replace

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.placed import Placed, require
from cloister.contract.series import Series
from cloister.contract.state import EpochRecord, State, line_in_force, signing_instance
from cloister.formats import key_config
from cloister.formats.evidence import parse_evidence
from cloister.formats.release import Epoch, parse_epoch, parse_kms_instance
from cloister.ledger.statements import SignedStatement

TIME_SLACK = 86_400  # seconds by which the times that KMS instances state may run behind each other
LONGEST_WINDOW = 31 * 86_400  # seconds that an epoch is used, and that it is stale afterwards
KEPT_INSTANCES = 64  # under one constitution; one that falls out and still lives shows itself again
KEPT_EPOCHS = 8  # of a contract; older ones are stale long since, and their releases go with them


def kms(state: State, statement: SignedStatement, _placed: Placed) -> State:
    """An instance counts if its evidence holds under the constitution in force, at the time that it states.

    Its challenge is not checked here: the keys bound never leave the instance, so old evidence for them is as good.
    Its time may not lie before what the log says already: endorsements that were true once would be true again.
    """
    instance = parse_kms_instance(statement.payload)
    require("kms.time", instance.at + TIME_SLACK >= state.latest, "states a time long before the entries before it")
    evidence = parse_evidence(instance.evidence)
    current = state.constitution.digest()
    require("kms.constitution", instance.constitution == current, "is not under the constitution in force")
    expected = Expected(evidence.binding.challenge, current, state.constitution.kms)
    appraised = examine_evidence(
        evidence, state.constitution.appraisal, expected, at=instance.at, seen=SEEN_NOTHING
    ).require()
    require("kms.signature", statement.signers == {appraised.keys.sign}, "is not signed by the keys in its evidence")
    latest = max(state.latest, instance.at)
    others = tuple(key for key in state.instances if key not in statement.signers)
    return replace(state, instances=(*others, *statement.signers)[-KEPT_INSTANCES:], latest=latest)


def epoch(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A transport key was born: the next in its contract's chain."""
    born = parse_epoch(statement.payload)
    key_config.decode(born.key_config)
    signer = signing_instance(state, statement)
    name, line = line_in_force(state, born.contract)
    last = line.epochs[-1] if line.epochs else None
    number, previous = (last.epoch.number + 1, last.placed.digest) if last else (1, b"")
    require("epoch.chain", (born.number, born.previous) == (number, previous), f"epoch {number} comes next")
    _require_window(state, born)
    epochs = (*line.epochs, EpochRecord(placed, born, signer))[-KEPT_EPOCHS:]
    kept = {record.placed.digest for record in epochs}
    releases = Series.of(record for record in line.releases if record.release.epoch in kept)
    return replace(state, lines=state.lines.put(name, replace(line, epochs=epochs, releases=releases)))


def _require_window(state: State, born: Epoch) -> None:
    """A window that an honest instance could have stated. When it counts, `contract.epochs` says, for all alike."""
    ordered = born.not_before < born.not_after <= born.stale_until
    require("epoch.window", ordered, "its window ends before it begins")
    used, stale = born.not_after - born.not_before, born.stale_until - born.not_after
    require("epoch.window", max(used, stale) <= LONGEST_WINDOW, "its window is longer than 31 days")
    backdated = born.not_before + TIME_SLACK < max(state.latest, state.time)
    require("epoch.window", not backdated, "its window begins long before the entries before it")
