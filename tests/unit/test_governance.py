"""Governance in the fold: proposals, votes and vetoes, notice by what witnesses said, and no way round it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.doubles.council import AUDITOR, HOUR, NEW, OPERATOR, PUBLISHER, Council

from cloister.contract.fold import advance, begin
from cloister.contract.governed import KEPT_PROPOSALS, URGENT_CHAIN
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.change_rules import Urgent
from cloister.formats.contract import Contract, Custody, Party
from cloister.formats.governance import Vote, WitnessedTime
from cloister.formats.release import Revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import DAY, NOON, World, serving

replace = msgspec.structs.replace


def test_a_proposal_with_enough_votes_is_in_force_a_notice_later():
    council = Council()
    successor, proposal = council.propose("model owner", **NEW)
    council.vote(proposal, "auditor")
    assert council.standing == ["passed"]
    council.tell(NOON)
    council.tell(NOON + DAY - 1)
    assert council.line.current == council.contract
    council.tell(NOON + DAY)
    assert council.line.current == successor
    assert council.standing == []


def test_the_chain_holds_what_it_takes_to_see_that_and_nothing_else():
    council = Council()
    _, proposal = council.propose("model owner", **NEW)
    council.tell(NOON - HOUR)  # before it passed
    vote = council.vote(proposal, "auditor")
    begins = council.tell(NOON)
    council.tell(NOON + HOUR)
    council.log(b"noise")
    over = council.tell(NOON + DAY)
    assert [placed.entry for placed in council.line.chain[-3:]] == [vote, begins, over]
    assert len(council.line.chain) == 5


def test_one_approval_too_few_brings_nothing_into_force():
    council = Council()
    council.propose("model owner", **NEW)
    council.tell(NOON)
    council.tell(NOON + DAY)
    assert council.standing == ["open"]
    assert council.line.current == council.contract


@pytest.mark.parametrize("when", ["open", "passed"])
def test_a_veto_ends_a_proposal_until_it_is_in_force(when):
    council = Council()
    _, proposal = council.propose("operator", **NEW)
    if when == "passed":
        council.vote(proposal, "auditor")
        council.tell(NOON)
    council.vote(proposal, "model owner", "veto")
    assert council.standing == ["vetoed"]
    council.tell(NOON + DAY)
    assert council.line.current == council.contract


def test_whoever_approved_may_still_veto():
    council = Council()
    _, proposal = council.propose("model owner", **NEW)
    council.vote(proposal, "auditor")
    council.vote(proposal, "model owner", "veto")
    assert council.standing == ["vetoed"]


def test_what_was_vetoed_is_amended_and_accepted():
    council = Council()
    _, first = council.propose("operator", **NEW)
    council.vote(first, "model owner", "veto")
    successor, second = council.propose("operator", not_after=NOON + 3 * DAY)
    council.vote(second, "model owner")
    council.tell(NOON)
    council.tell(NOON + DAY)
    assert council.line.current == successor


def test_another_proposal_that_is_in_force_ends_all_others():
    council = Council()
    council.propose("operator", **NEW)
    council.propose("operator", "model owner", not_after=NOON + 3 * DAY)
    council.tell(NOON)
    council.tell(NOON + DAY)
    assert council.line.governed.proposals == ()


def ballot(*keys, choice="approve", kind="vote", proposal=None):
    """A vote that these keys sign, on the proposal at hand unless it is on another."""
    return lambda mine: sign_statement(kind, Vote(proposal=proposal or mine, choice=choice), keys)


VOID_VOTES = {
    "of_a_stranger": (ballot(SigningKey.generate()), "vote.signature"),
    "of_two_keys": (ballot(AUDITOR, PUBLISHER), "vote.signature"),
    "of_a_party_that_approves_nothing": (ballot(PUBLISHER), "vote.approver"),
    "of_the_proposer_again": (ballot(OPERATOR), "vote.twice"),
    "veto_of_one_without": (ballot(AUDITOR, choice="veto"), "vote.veto"),
    "on_no_proposal": (ballot(AUDITOR, proposal=bytes(32)), "vote.proposal"),
    "under_another_kind": (ballot(AUDITOR, kind="time"), "not a"),
}


@pytest.mark.parametrize("name", VOID_VOTES)
def test_a_vote_that_the_rules_do_not_allow_has_no_effect(name):
    make, reason = VOID_VOTES[name]
    council = Council()
    _, proposal = council.propose("operator", **NEW)
    before = council.line
    council.log(make(proposal))
    assert reason in council.state.reason
    assert council.line == before


def test_a_vote_is_counted_once_though_it_is_logged_twice():
    council = Council(number=3)
    _, proposal = council.propose("operator", **NEW)
    vote = council.vote(proposal, "auditor")
    council.log(vote)
    assert "vote.twice" in council.state.reason
    assert council.standing == ["open"]


def test_a_vote_after_the_window_has_no_effect():
    council = Council()
    _, proposal = council.propose("operator", **NEW)
    council.tell(NOON)
    council.tell(NOON + 2 * DAY)
    assert council.standing == ["open"]
    council.tell(NOON + 2 * DAY + 1)
    assert council.standing == ["lapsed"]
    council.vote(proposal, "auditor")
    assert "vote.open" in council.state.reason


def test_a_vote_of_a_removed_party_has_no_effect():
    council = Council(notice_seconds=0)
    rules = replace(council.contract.changes, approvers=("model owner", "operator"))
    parties = tuple(party for party in council.contract.parties if party.name != "auditor")
    council.propose("model owner", "operator", "auditor", parties=parties, changes=rules)
    _, proposal = council.propose("operator", **NEW)
    council.vote(proposal, "auditor")
    assert "vote.signature" in council.state.reason


def without(council, *names):
    """What a successor says that these have no part in any more."""
    contract = council.contract
    rules = contract.changes
    return {
        "parties": tuple(party for party in contract.parties if party.name not in names),
        "changes": replace(
            rules,
            approvers=tuple(name for name in rules.approvers if name not in names),
            veto=tuple(name for name in rules.veto if name not in names),
            urgent="none" if "publisher" in names else rules.urgent,
        ),
    }


LOSSES: dict[str, Callable[[Council], dict[str, Any]]] = {
    "its part": lambda council: without(council, "auditor"),
    "its say": lambda council: {"changes": without(council, "auditor")["changes"]},
}


@pytest.mark.parametrize("what", LOSSES)
def test_nobody_is_thrown_out_by_number(what):
    """An auditor owns nothing, and is as much a party as the others: enough approve, and it stays."""
    council = Council(notice_seconds=0)
    successor, proposal = council.propose("model owner", "operator", **LOSSES[what](council))
    assert not council.state.reason
    assert council.standing == ["open"]
    council.vote(proposal, "auditor")
    assert council.line.current == successor


@pytest.mark.parametrize("what", LOSSES)
def test_everyone_else_together_lets_one_go_that_says_nothing(what):
    """It lost its keys, or is no more; who has no say otherwise is heard about this."""
    council = Council()
    successor, proposal = council.propose("model owner", "operator", **LOSSES[what](council))
    assert council.standing == ["open"]
    council.vote(proposal, "publisher")
    assert council.standing == ["passed"], "and then the notice runs, as of every successor"
    council.tell(NOON)
    council.tell(NOON + DAY)
    assert council.line.current == successor


def test_two_that_are_to_go_stand_for_each_other():
    council = Council(notice_seconds=0)
    successor, proposal = council.propose("model owner", "operator", **without(council, "auditor", "publisher"))
    assert council.standing == ["open"]
    council.vote(proposal, "publisher")
    assert council.line.current == successor, "the one that approved it, and everyone but the other"


def test_who_has_no_say_is_not_heard_where_nobody_is_to_go():
    council = Council(notice_seconds=0)
    _, proposal = council.propose("operator", **NEW)
    council.vote(proposal, "publisher")
    assert "vote.approver" in council.state.reason


def test_of_two_amenders_one_does_not_throw_out_the_other():
    world = World()
    both = (world.parties.owner, world.parties.operator)
    rules = replace(world.constitution.changes, number=1, notice_seconds=0)
    first = replace(world.constitution, changes=rules)
    state = begin(sign_statement("constitution", first, both), genesis=first.digest())
    alone = replace(
        first,
        sequence=1,
        previous=first.digest(),
        amenders=first.amenders[:1],
        changes=replace(rules, approvers=(first.amenders[0].name,)),
    )
    stays, goes = sorted(both, key=lambda key: key.public not in first.amenders[0].keys)
    entry = sign_statement("constitution", alone, (stays,))
    proposed = advance(state, entry)
    assert (proposed.reason, proposed.constitution) == ("", first)
    vote = Vote(proposal=entry_digest(entry), choice="approve")
    assert advance(proposed, sign_statement("vote", vote, (goes,))).constitution == alone


def test_a_vote_on_what_is_in_force_has_no_effect():
    council = Council(notice_seconds=0)
    _, proposal = council.propose("operator", "auditor", **NEW)
    council.vote(proposal, "model owner", "veto")
    assert "vote.proposal" in council.state.reason


def test_whoever_is_named_anew_has_to_agree_and_so_has_everyone_whom_it_joins():
    """Who could bring in others by number would have as many as it takes to throw anyone out."""
    council = Council(notice_seconds=0)
    newcomer = SigningKey.generate()
    party = Party(name="newcomer", duties=("auditor",), keys=(newcomer.public,), seal=b"")
    successor, proposal = council.propose("operator", "auditor", parties=(*council.contract.parties, party))
    council.keys["newcomer"] = newcomer
    for name in ("publisher", "model owner", "newcomer"):
        assert council.line.current == council.contract, name
        council.vote(proposal, name)
    assert council.line.current == successor


def test_nobody_gives_a_party_another_key_and_signs_with_it():
    council = Council(notice_seconds=0)
    forged = SigningKey.generate()
    owner, *others = council.contract.parties
    council.keys["forged"] = forged
    council.propose("operator", "auditor", "forged", parties=(replace(owner, keys=(forged.public,)), *others))
    assert council.line.current == council.contract
    (proposal,) = council.line.governed.proposals
    assert proposal.approvals == {"operator", "auditor"}


SEAL = KemPrivateKey.generate(X_WING).public
OWN: dict[str, Callable[[Contract], dict[str, Any]]] = {
    "its asset": lambda contract: {"assets": (replace(contract.assets[0], digest=bytes(32)),)},
    "the grant of its asset": lambda contract: {"grants": (replace(contract.grants[0], uses=7),)},
    "its asset taken out": lambda contract: {"assets": (), "grants": ()},
    "another task for its asset": lambda contract: {"grants": ()},
    "the keepers of its key": lambda contract: {
        "parties": (*contract.parties[:2], keeper(contract.parties[2]), contract.parties[3]),
        "custody": Custody(custodians=("auditor",), threshold=1),
    },
    "the code that gets it": lambda contract: {"tasks": (serving(endpoints=()),)},
    "the evidence for that code": lambda contract: {"appraisal": replace(contract.appraisal, platforms=())},
    "its seal key": lambda contract: {"parties": (replace(contract.parties[0], seal=SEAL), *contract.parties[1:])},
    "its duties": lambda contract: {
        "parties": (replace(contract.parties[0], duties=("model-owner", "auditor")), *contract.parties[1:])
    },
}


def keeper(party):
    return replace(party, duties=(*party.duties, "custodian"), seal=SEAL)


@pytest.mark.parametrize("what", OWN)
def test_a_model_owner_is_not_outvoted_about(what):
    council = Council(notice_seconds=0)
    successor, proposal = council.propose("operator", "auditor", **OWN[what](council.contract))
    assert not council.state.reason
    assert council.standing == ["open"]
    council.vote(proposal, "model owner")
    assert council.line.current == successor


def test_about_everything_else_the_number_decides():
    council = Council(notice_seconds=0)
    successor, _ = council.propose("operator", "auditor", terms=())
    assert council.line.current == successor


def test_a_proposal_that_a_stranger_signed_too_has_no_effect():
    council = Council()
    council.keys["stranger"] = SigningKey.generate()
    council.propose("operator", "stranger", **NEW)
    assert "contract.signatures" in council.state.reason


def test_a_newcomer_alone_proposes_nothing():
    council = Council()
    council.keys["newcomer"] = SigningKey.generate()
    party = Party(name="newcomer", duties=("auditor",), keys=(council.keys["newcomer"].public,), seal=b"")
    council.propose("newcomer", parties=(*council.contract.parties, party))
    assert "contract.signatures" in council.state.reason


def test_a_vetoed_text_is_not_proposed_again_by_whoever_has_the_entry():
    council = Council()
    _, proposal = council.propose("operator", "auditor", **NEW)
    entry = council.world.log.entries[-1]
    council.vote(proposal, "model owner", "veto")
    statement = parse_statement(entry)
    turned = canonical.encode(replace(statement, signatures=statement.signatures[::-1]))
    for again in (entry, turned):
        council.log(again)
        assert "proposal.again" in council.state.reason
        assert council.standing == ["vetoed"]


def test_no_key_moves_from_one_name_to_another():
    council = Council()
    owner, operator, auditor, publisher = council.contract.parties
    shadow = replace(auditor, name="shadow")
    renewed = replace(auditor, keys=(SigningKey.generate().public,))
    council.propose("operator", parties=(owner, operator, renewed, publisher, shadow))
    assert "contract.form" in council.state.reason
    council.propose("operator", parties=(owner, operator, publisher, shadow))
    assert "contract.form" in council.state.reason


# Urgent fixes.


def fixed(council, **changes):
    task = council.line.current.serving
    node = replace(task.nodes[0], **({"workloads": (bytes(48),)} | changes))
    return (replace(task, nodes=(node,)),)


def test_an_urgent_fix_is_in_force_at_once_with_its_publishers_signature():
    council = Council(urgent=Urgent(publisher="publisher"))
    successor, _ = council.propose("publisher", tasks=fixed(council))
    assert council.line.current == successor


@pytest.mark.parametrize("name", ["settings", "sandbox", "endpoints", "changes"])
def test_an_urgent_fix_changes_nothing_but_workloads(name):
    council = Council(urgent=Urgent(publisher="publisher"))
    changes = {
        "settings": {"tasks": fixed(council, settings=(bytes(32),))},
        "sandbox": {"tasks": (serving(sandbox=replace(serving().sandbox, tier="namespaces")),)},
        "endpoints": {"tasks": (serving(endpoints=()),)},
        "changes": {"tasks": fixed(council), "changes": replace(council.contract.changes, veto=())},
    }[name]
    council.propose("publisher", **changes)
    assert council.line.current == council.contract
    assert council.standing == ["open"]


@pytest.mark.parametrize("name", ["operator", "model owner", "auditor"])
def test_nobody_but_the_publisher_makes_a_fix_urgent(name):
    council = Council(urgent=Urgent(publisher="publisher"))
    council.propose(name, tasks=fixed(council))
    assert council.line.current == council.contract


def test_a_publisher_alone_makes_no_chain_too_long_to_be_shown():
    council = Council(urgent=Urgent(publisher="publisher"))
    for number in range(URGENT_CHAIN + 3):
        council.propose("publisher", tasks=fixed(council, workloads=(number.to_bytes(48, "big"),)))
    assert len(council.line.chain) == URGENT_CHAIN
    assert council.standing == ["open"] * 4  # the first contract is of the chain, too


def test_without_a_rule_of_urgent_fixes_there_is_none():
    council = Council()
    council.propose("publisher", tasks=fixed(council))
    assert council.line.current == council.contract


def test_a_rule_of_urgent_fixes_takes_everyone():
    council = Council(notice_seconds=0)
    rules = replace(council.contract.changes, urgent=Urgent(publisher="publisher"))
    _, proposal = council.propose("operator", "auditor", changes=rules)
    council.vote(proposal, "model owner")
    assert council.line.current == council.contract
    council.vote(proposal, "publisher")
    assert council.line.current.changes == rules


# Bounds, and the constitution.


def test_one_proposer_cannot_crowd_out_the_others():
    council = Council()
    for hour in range(KEPT_PROPOSALS):
        council.propose("operator", not_after=NOON + DAY + hour)
    council.propose("operator", not_after=NOON + 9 * DAY)
    assert "proposal.number" in council.state.reason
    council.propose("model owner", **NEW)
    assert not council.state.reason
    council.vote(council.line.governed.proposals[0].placed.digest, "model owner", "veto")
    council.propose("operator", not_after=NOON + 9 * DAY)
    assert not council.state.reason
    assert len(council.standing) == KEPT_PROPOSALS + 1


def test_a_constitution_changes_by_votes_and_notice_and_retires_every_instance():
    world = World()
    rules = replace(world.constitution.changes, notice_seconds=DAY)
    first = replace(world.constitution, changes=rules)
    both = (world.parties.owner, world.parties.operator)
    world.log.entries = []
    entries = [sign_statement("constitution", first, both)]
    world.log.append(entries[0])
    state = begin(entries[0], genesis=first.digest())
    successor = replace(first, sequence=1, previous=first.digest(), quorum=1)
    entries = [sign_statement("constitution", successor, both[:1])]
    entries.append(sign_statement("vote", Vote(proposal=entry_digest(entries[0]), choice="approve"), both[1:]))
    for entry in entries:
        world.log.append(entry)
        state = advance(state, entry)
    for at in (NOON, NOON + DAY):
        assert state.constitution == first
        note = WitnessedTime(note=world.log.checkpoint(at=at))
        entry = sign_statement("time", note, both[:1])
        world.log.append(entry)
        state = advance(state, entry)
    assert state.constitution == successor
    assert state.instances == ()


# The end of a contract.


def revoked(council, name):
    line = council.contract.digest()
    said = Revocation(contract=line, target=line, reason="the agreement was terminated")
    council.log(sign_statement("revocation", said, (council.keys[name],)))


def test_whoever_has_a_veto_or_an_asset_ends_the_contract():
    for name in ("model owner", "auditor"):
        council = Council(veto=("auditor",))
        revoked(council, name)
        assert council.line.ended


@pytest.mark.parametrize("name", ["operator", "publisher"])
def test_nobody_else_ends_it(name):
    council = Council(veto=("auditor",))
    revoked(council, name)
    assert "revocation.contract" in council.state.reason
    assert not council.line.ended


def test_nothing_is_made_under_a_contract_that_has_ended():
    council = Council()
    world = council.world
    line = council.contract.digest()
    revoked(council, "model owner")
    council.log(sign_statement("epoch", world.make_epoch(contract=line), (world.kms.sign,)))
    assert "contract.succession" in council.state.reason
