"""What an entry says and what came of it, in a sentence: the log read as a history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cloister.contract.audit.order import Order
from cloister.contract.audit.taken import Taken
from cloister.contract.governed import Governed
from cloister.contract.state import State
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.evidence import parse_evidence
from cloister.formats.refusal import Wanted


def words(taken: Taken, order: Order) -> str:
    """One sentence without its full stop; nothing in it is content of users."""
    describe = WORDS.get(taken.statement.kind)
    if taken.record is None or describe is None:
        return f"a {taken.statement.kind} that cannot be read"
    said = describe(taken.record, taken.before, order)
    came = "; ".join(_came_of(taken)) if taken.counts else ""
    return f"{said}: {came}" if came else said


def moment(seconds: int) -> str:
    """A time for people, UTC; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _came_of(taken: Taken) -> Iterator[str]:
    """What the entry brought into force, or made of proposals."""
    yield from _changes("constitution", taken.before.rules, taken.after.rules)
    for name in taken.after.lines.differing(taken.before.lines):
        before, line = taken.before.lines.get(name), taken.after.lines[name]
        if before is not None:
            yield from _changes(f"contract “{line.current.name}”", before.governed, line.governed)


def _changes(what: str, before: Governed[Any], after: Governed[Any]) -> Iterator[str]:
    if after.digest != before.digest:
        yield f"{what}, number {after.current.sequence}, is in force"
        return
    standings = {one.placed.digest: one.standing for one in before.proposals}
    noticed = {one.placed.digest: one.noticed for one in before.proposals}
    for one in after.proposals:
        if standings.get(one.placed.digest, "open") != one.standing:
            yield f"the proposal of entry {one.placed.index} is {one.standing}"
        if one.noticed is not None and noticed.get(one.placed.digest) is None:
            over = moment(one.noticed + after.current.changes.notice_seconds)
            yield f"the notice of entry {one.placed.index} runs until {over}"


def _document(record: Any, _state: State, _order: Order) -> str:
    kind = "constitution" if hasattr(record, "amenders") else "contract"
    if record.sequence == 0:
        return f"{kind} “{record.name}”, the first"
    return f"proposes {kind} “{record.name}”, number {record.sequence}"


def _kms(record: Any, _state: State, _order: Order) -> str:
    try:
        platform = parse_evidence(record.evidence).platform
    except (MalformedInput, TooLarge):
        platform = "nothing that can be read"
    return f"a KMS instance shows itself, on {platform}, as of {moment(record.at)}"


def _epoch(record: Any, state: State, _order: Order) -> str:
    window = f"{moment(record.not_before)} to {moment(record.not_after)}"
    return f"transport key of epoch {record.number} of {_line(state, record.contract)}, {window}"


def _release(record: Any, state: State, order: Order) -> str:
    node = record.node.sign.hex()[:12]
    return f"key of {_entry(order, record.epoch)} of {_line(state, record.contract)} to {record.role} {node}…"


def _use(record: Any, state: State, order: Order) -> str:
    deposits = ", ".join(_entry(order, one) for one in record.deposits)
    return f"assets of {deposits} of {_line(state, record.contract)} to {record.role} {record.node.sign.hex()[:12]}…"


def _handover(record: Any, _state: State, order: Order) -> str:
    secrets = ", ".join(f"the key of {_entry(order, one.name)}" for one in record.secrets)
    return f"hands over {secrets} to the instance {record.to.hex()[:12]}…"


def _authority(record: Any, state: State, order: Order) -> str:
    return f"authority {record.generation} of {_line(state, record.contract)}, by {_entry(order, record.root)}"


def _identity(record: Any, _state: State, _order: Order) -> str:
    return f"certificate {record.serial.hex()[:12]}… for {record.name}, until {moment(record.not_after)}"


_WANTED: Final[Mapping[Wanted, str]] = {
    "transport-key": "a transport key",
    "assets": "assets",
    "identity": "a certificate",
    "handover": "to hand secrets over",
    "recovery": "what was given as a share",
}


def _refusal(record: Any, state: State, _order: Order) -> str:
    failed = ", ".join(one.check for one in record.failed)
    of = "" if record.wanted == "handover" else f" of {_line(state, record.subject)}"
    return f"refuses {_WANTED[record.wanted]}{of} to a {record.role}: {failed}"


def _revocation(record: Any, _state: State, order: Order) -> str:
    if record.target == record.contract:
        return f"ends the contract: {record.reason}"
    return f"takes back {_entry(order, record.target)}: {record.reason}"


def _model(record: Any, state: State, _order: Order) -> str:
    signed = f", signed by {record.signature.hex()[:12]}…" if record.signature else ""
    return f"model “{record.name}”, {record.model.hex()[:12]}…, for {_line(state, record.contract)}{signed}"


def _vote(record: Any, _state: State, order: Order) -> str:
    said = "approves" if record.choice == "approve" else "vetoes"
    return f"{said} the proposal of {_entry(order, record.proposal)}"


def _time(record: Any, _state: State, _order: Order) -> str:
    try:
        size = parse_checkpoint(parse_note(record.note).text).size
    except (MalformedInput, TooLarge):
        return "witnesses said nothing that can be read"
    return f"witnesses saw {size} entries"


def _root(record: Any, state: State, _order: Order) -> str:
    shared = f"shared among {len(record.shares)} custodians" if record.shares else "with no custodians"
    return f"root secret {record.generation} of {_line(state, record.contract)}, {shared}"


def _deposit(record: Any, _state: State, _order: Order) -> str:
    terms = record.terms
    under = "any version" if terms.under == "line" else ", ".join(f"{one.hex()[:12]}…" for one in terms.under)
    what = f"{terms.asset}, number {terms.number}, for {terms.task}"
    return f"{what}, under {under} of the contract, until {moment(terms.expires)}"


def _recovery(record: Any, _state: State, _order: Order) -> str:
    return f"custodian {record.custodian} gives its share of root {record.generation}"


def _of_root(record: Any, _state: State, _order: Order) -> str:
    return f"root {record.generation}: {record.reason}"


def _entry(order: Order, digest: bytes) -> str:
    place = order.place(digest)
    return f"entry {place}" if place is not None else f"{digest.hex()[:12]}…, which is not in the log"


def _line(state: State, contract: bytes) -> str:
    found = state.lines.in_force(contract)
    line = found[1] if found else state.lines.get(contract)
    if line is not None:
        return f"contract “{line.current.name}”"
    return f"contract {contract.hex()[:12]}…"


WORDS: Final[Mapping[str, Callable[[Any, State, Order], str]]] = {
    "constitution": _document,
    "contract": _document,
    "kms": _kms,
    "epoch": _epoch,
    "release": _release,
    "revocation": _revocation,
    "root": _root,
    "deposit": _deposit,
    "use": _use,
    "recovery": _recovery,
    "rotation": _of_root,
    "retirement": _of_root,
    "time": _time,
    "vote": _vote,
    "refusal": _refusal,
    "handover": _handover,
    "authority": _authority,
    "identity": _identity,
    "model": _model,
}
