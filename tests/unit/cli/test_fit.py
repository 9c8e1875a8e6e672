"""A contract that others wrote against what would run here: each part that differs is named, with what to do."""

import dataclasses

import msgspec
import pytest
from tests.unit.cli.test_local_terms import FIRST, FOUND, KEYS, NOON, OTHER

from cloister.cli.local.endpoints import ENDPOINTS
from cloister.cli.local.fit import Here, filled, misfits
from cloister.cli.local.terms import genesis_of
from cloister.contract.draft import DraftTerms, draft_contract, still_open
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.contract import Sandbox

replace = msgspec.structs.replace
HERE = Here(genesis_of(FIRST), KEYS.platform.public, FOUND)
OTHER_CODE = OTHER + OTHER[:16]


def drafted():
    terms = DraftTerms(
        name="Screening",
        constitution=HERE.genesis,
        parties=FIRST.contract.parties,
        not_before=NOON - 1,
        not_after=NOON + 1000,
    )
    return draft_contract(terms)


def fill(contract, found=FOUND, **options):
    return filled(contract, found, **{"platform": KEYS.platform.public, "beside": False} | options)


AGREED = fill(drafted())


def parts(contract, *, here=HERE, at=NOON):
    return [one.part for one in misfits(contract, here, at=at)]


def with_task(**changes):
    return replace(AGREED, tasks=(replace(AGREED.serving, **changes),))


def test_a_draft_that_was_filled_in_fits_and_leaves_nothing_open():
    assert still_open(drafted())
    assert still_open(AGREED) == []
    assert parts(AGREED) == []


def test_a_contract_of_this_systems_own_is_filled_in_already():
    assert fill(FIRST.contract) == FIRST.contract


@pytest.mark.parametrize(
    ("contract", "part"),
    [
        (replace(AGREED, constitution=OTHER), "constitution"),
        (replace(AGREED, not_after=NOON), "validity"),
        (replace(AGREED, appraisal=replace(AGREED.appraisal, platforms=())), "appraisal"),
        (replace(AGREED, grants=()), "model"),
        (with_task(engine=replace(AGREED.serving.engine, digest=OTHER)), "engine"),
        (with_task(sandbox=Sandbox(tier="files", profiles=(OTHER,))), "sandbox"),
        (with_task(sandbox=replace(AGREED.serving.sandbox, tier="signals")), "sandbox"),
        (with_task(nodes=()), "role"),
        (with_task(nodes=(replace(AGREED.serving.nodes[0], workloads=(OTHER_CODE,)),)), "code"),
        (with_task(nodes=(replace(AGREED.serving.nodes[0], settings=(OTHER,)),)), "settings"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_part_that_differs_is_named_alone(contract, part):
    assert parts(contract) == [part]


def test_a_contract_that_accepts_no_software_tee_says_so_and_its_settings_are_others():
    assert parts(replace(AGREED, appraisal=replace(AGREED.appraisal, unsafe=()))) == ["appraisal", "settings"]


def test_endpoints_are_the_parties_choice_and_the_settings_follow_them():
    fewer = ENDPOINTS["speech"][:1]
    assert parts(with_task(endpoints=fewer)) == ["settings"]
    again = fill(with_task(endpoints=fewer))
    assert (again.serving.endpoints, parts(again)) == (fewer, [])


def test_other_code_can_be_named_beside_the_code_that_runs():
    newer = dataclasses.replace(FOUND, gateway_workload=OTHER_CODE)
    both = fill(AGREED, newer, beside=True)
    assert both.serving.nodes[0].workloads == (FOUND.gateway_workload, OTHER_CODE)
    assert parts(both) == parts(both, here=dataclasses.replace(HERE, found=newer)) == []
    assert parts(fill(AGREED, newer)) == ["code"]


def test_what_was_measured_elsewhere_leaves_the_appraisal_of_evidence_to_the_parties():
    assert fill(drafted(), platform=None).appraisal == drafted().appraisal


def test_of_two_models_nobody_here_says_which_is_which():
    second = replace(AGREED.assets[0], name="second", digest=OTHER)
    granted = replace(AGREED, assets=(*AGREED.assets, second), grants=(*AGREED.grants, _granted("second")))
    assert fill(granted).assets == granted.assets


def test_every_misfit_says_what_to_do():
    strange = replace(
        AGREED,
        constitution=OTHER,
        not_after=NOON,
        tasks=(
            replace(AGREED.serving, endpoints=(), nodes=(RoleReference(role="gateway", workloads=(), settings=()),)),
        ),
    )
    found = list(misfits(strange, HERE, at=NOON))
    assert [one.part for one in found] == ["constitution", "validity", "endpoints", "code", "settings"]
    assert all(one.remedy and str(one).endswith(one.remedy) for one in found)


def _granted(name):
    return replace(AGREED.grants[0], asset=name)
