"""The fold: the ledger's entries in their order, and nothing else, make the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from cloister.contract.amendment import first_constitution
from cloister.contract.custody import deposit, recovery, retirement, root, rotation, use
from cloister.contract.governance import constitution, contract, time, vote
from cloister.contract.governed import Governed
from cloister.contract.handovers import handover
from cloister.contract.identities import authority, identity
from cloister.contract.instances import epoch, kms
from cloister.contract.models import model
from cloister.contract.placed import EntryVoid, Placed
from cloister.contract.refusals import refusal
from cloister.contract.releases import release, revocation
from cloister.contract.state import State
from cloister.crypto.signing import BadSignature
from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge
from cloister.ledger.statements import Opened, SignedStatement, open_statement, open_statements

Opening = Callable[[Sequence[bytes]], Iterable[Opened]]  # as `open_statements`


def begin(entry: bytes, *, genesis: bytes) -> State:
    """The state after the log's first entry, which is the genesis or nothing counts.

    Raises:
        Refused: `constitution.genesis` or what is wrong with it.
    """
    try:
        statement = open_statement(entry)
        genesis_rules = first_constitution(statement)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise EntryVoid("constitution.genesis", f"the log's first entry is no constitution: {error}") from error
    if genesis_rules.digest() != genesis:
        raise EntryVoid("constitution.genesis", f"the log begins with {genesis_rules.digest().hex()[:16]}…")
    placed = Placed(0, entry, statement.digest)
    return State(genesis, Governed((placed,), genesis_rules, genesis, 0))


def fold(state: State, entries: Sequence[bytes], *, opening: Opening = open_statements) -> State:
    """The state after `entries`, which follow those that made `state`.

    `opening` gives what each of them is, in their order: on several processors, where there are several.
    """
    for entry, opened in zip(entries, opening(entries), strict=True):
        state = weigh(state, opened, entry) if isinstance(opened, SignedStatement) else void(state, opened)
    return state


def advance(state: State, entry: bytes) -> State:
    """The state after one more entry; a void one changes nothing but the counts."""
    try:
        statement = open_statement(entry)
    except (MalformedInput, TooLarge, BadSignature) as error:
        return void(state, error)
    return weigh(state, statement, entry)


def weigh(state: State, statement: SignedStatement, entry: bytes) -> State:
    """As `advance`, of an entry that is open already: `statement` is what `entry` says."""
    try:
        after = _RULES[statement.kind](state, statement, Placed(state.size, entry, statement.digest))
    except (Refused, MalformedInput, TooLarge, BadSignature) as error:
        return void(state, error)
    return replace(after, size=state.size + 1, reason="", broken="")


def void(state: State, error: CloisterError) -> State:
    """The state after an entry without effect, for the reason that `error` says."""
    broken = error.check if isinstance(error, Refused) else ""
    return replace(state, size=state.size + 1, void=state.void + 1, reason=str(error), broken=broken)


_RULES: Mapping[str, Callable[[State, SignedStatement, Placed], State]] = {
    "constitution": constitution,
    "contract": contract,
    "kms": kms,
    "epoch": epoch,
    "release": release,
    "revocation": revocation,
    "refusal": refusal,
    "root": root,
    "deposit": deposit,
    "use": use,
    "recovery": recovery,
    "rotation": rotation,
    "retirement": retirement,
    "time": time,
    "vote": vote,
    "handover": handover,
    "authority": authority,
    "identity": identity,
    "model": model,
}
