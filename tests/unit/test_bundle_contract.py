"""What a client checks of the contract before anything leaves its machine, a broken link a row."""

import msgspec
import pytest
from tests.doubles.bundle_case import Rows, require_refused_by

from cloister.crypto.signing import SigningKey
from cloister.formats.governance import WitnessedTime
from cloister.ledger.statements import sign_statement
from cloister.testing.world import (
    DAY,
    NOON,
    serving,
)

replace = msgspec.structs.replace

ROWS = Rows()
breaks = ROWS.breaks


@breaks("contract.form")
def one_key_for_two_parties(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(owner, replace(operator, keys=owner.keys)))


@breaks("contract.form")
def a_model_whose_owner_has_another_duty(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(replace(owner, duties=("auditor",)), operator))


@breaks("contract.form")
def no_operator(case):
    owner, operator = case.world.contract.parties
    case.first_contract(parties=(owner, replace(operator, duties=("auditor",))))


@breaks("contract.form")
def a_role_named_twice(case):
    case.first_contract(tasks=(serving(nodes=case.world.contract.serving.nodes * 2),))


@breaks("contract.form")
def two_models_for_the_task_that_serves(case):
    contract = case.world.contract
    (model,), (grant,) = contract.assets, contract.grants
    case.first_contract(
        assets=(model, replace(model, name="another model", digest=bytes(32))),
        grants=(grant, replace(grant, asset="another model")),
    )


@breaks("contract.form")
def a_contract_that_ends_before_it_begins(case):
    case.first_contract(not_before=NOON, not_after=NOON)


@breaks("contract.form")
def a_contract_with_a_notice_of_0_outside_a_local_system(case):
    case.first_contract(local=False)


@breaks("contract.form")
def a_constitution_in_the_place_of_a_contract(case):
    world = case.world
    bundle = world.bundle()
    case.bundle = replace(bundle, contracts=bundle.constitutions)


@breaks("contract.signatures")
def a_contract_without_its_model_owner(case):
    case.first_contract(signers=(case.world.parties.operator,))


@breaks("contract.signatures")
def a_successor_without_a_party_of_before(case):
    newcomer = SigningKey.generate()
    owner, operator = case.world.contract.parties
    parties = (replace(owner, keys=(newcomer.public,)), operator)
    case.next_contract(parties=parties, signers=(newcomer, case.world.parties.operator))


@breaks("contract.signatures")
def a_successor_without_its_newcomer(case):
    newcomer = SigningKey.generate()
    owner, operator = case.world.contract.parties
    case.next_contract(parties=(owner, operator, replace(owner, name="newcomer", keys=(newcomer.public,))))


@breaks("contract.succession")
def a_successor_of_another_contract(case):
    case.next_contract(previous=bytes(32))


@breaks("contract.succession")
def a_contract_number_skipped(case):
    case.next_contract(sequence=2)


@breaks("contract.succession")
def a_successor_under_another_constitution(case):
    case.next_contract(constitution=bytes(32))


@breaks("contract.succession")
def a_successor_contract_with_another_name(case):
    case.next_contract(name="another")


@breaks("contract.succession")
def a_first_contract_that_claims_a_previous(case):
    case.first_contract(sequence=1)


@breaks("contract.notice")
def a_contract_amended_before_its_notice(case):
    case.first_contract(changes=replace(case.world.contract.changes, notice_seconds=DAY))
    case.next_contract()


@breaks("contract.signatures")
def a_successor_whose_vote_is_not_shown(case):
    case.governed(left_out=("vote",))


@breaks("contract.notice")
def a_successor_whose_notice_is_not_shown_to_be_over(case):
    case.governed(left_out=("over",))


@breaks("contract.notice")
def a_successor_whose_notice_is_not_shown_to_have_begun(case):
    case.governed(left_out=("begins",))


@breaks("contract.signatures")
def a_vote_on_a_proposal_that_is_not_shown(case):
    case.governed(left_out=("proposal",))


@breaks("contract.notice")
def a_time_that_one_witness_alone_states(case):
    case.governed(left_out=("over",))
    alone = WitnessedTime(note=case.world.log.checkpoint(at=NOON, cosigners=1))
    case.world.contract_entries.append(case.world.log.append(sign_statement("time", alone, (SigningKey.generate(),))))


@breaks("contract.pin")
def another_contract_of_the_same_parties(case):
    case.first_contract(name="weaker terms", follow=False)


@breaks("contract.constitution")
def a_contract_with_another_kms(case):
    case.first_contract(constitution=bytes(32))


@breaks("contract.validity")
def a_contract_that_has_ended(case):
    case.first_contract(not_after=NOON - 60)


@breaks("contract.validity")
def a_contract_that_has_not_begun(case):
    case.first_contract(not_before=NOON + 61)


@breaks("contract.inclusion")
def a_contract_that_is_not_in_the_log(case):
    case.unlogged("contracts")


@pytest.mark.parametrize(("check", "row"), ROWS.parameters)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    require_refused_by(check, row)
