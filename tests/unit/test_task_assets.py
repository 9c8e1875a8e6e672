"""What a node was given for its task: the key of its sealed model beside its sections. Each test changes one thing."""

import msgspec
import pytest
from tests.doubles.section_world import OWNERS, SectionWorld, sample_section

from cloister.contract.contract_form import require_contract_form
from cloister.contract.sections import SectionsRefused
from cloister.contract.task_assets import (
    MODEL_STEPS,
    NO_ASSETS,
    ModelRefused,
    examine_model_key,
    task_assets,
    wanted_assets,
)
from cloister.formats.custody_messages import MAXIMUM_ASSETS
from cloister.formats.section import encode_section
from cloister.secret import SecretBytes
from cloister.testing.world import DAY, NOON, World

replace = msgspec.structs.replace
CONTRACT = SectionWorld().contract
(MODEL,) = CONTRACT.granted("serve", "model")
KEY = bytes(range(32))
OTHER = bytes(32)


def values(**changes):
    sections = {kind: encode_section(sample_section(kind)) for kind in OWNERS}
    return sections | {MODEL.name: SecretBytes(KEY)} | {name: SecretBytes(value) for name, value in changes.items()}


def examined(given, contract=CONTRACT, model=MODEL.digest):
    return examine_model_key(given, contract, task="serve", model=model)


def test_a_node_asks_for_its_sections_and_for_the_key_of_the_model_that_lies_there():
    assert [one.name for one in wanted_assets(CONTRACT, "serve", MODEL.digest)] == [*OWNERS, MODEL.name]
    assert [one.name for one in wanted_assets(CONTRACT, "serve", None)] == list(OWNERS)
    assert wanted_assets(World().contract, "serve", None) == ()


def test_what_was_given_comes_together():
    together = task_assets(values(), CONTRACT, task="serve", model=MODEL.digest)
    assert together.model_key == SecretBytes(KEY)
    assert together.sections.variables["WORKLOAD_TOKEN"].reveal() == b"token of the workload"
    assert task_assets(values(), CONTRACT, task="serve", model=None).model_key is None
    assert task_assets({}, World().contract, task="serve", model=None) == NO_ASSETS


WITHOUT_GRANT = replace(CONTRACT, grants=tuple(one for one in CONTRACT.grants if one.asset != MODEL.name))
BREAKS = [
    ("model.asset", (values(), CONTRACT, OTHER)),
    ("model.asset", (values(), WITHOUT_GRANT, MODEL.digest)),
    ("model.key", (values(**{MODEL.name: KEY[1:]}), CONTRACT, MODEL.digest)),
    ("model.key", (values(**{MODEL.name: KEY + b"\n"}), CONTRACT, MODEL.digest)),
]


@pytest.mark.parametrize(
    ("check", "given"), [pytest.param(check, given, marks=pytest.mark.breaks(check)) for check, given in BREAKS]
)
def test_each_broken_link_is_refused_by_its_check_alone(check, given):
    examination = examined(*given)
    assert examination.failed == [check]
    with pytest.raises(ModelRefused, match=check):
        examination.require()


def test_every_step_of_a_models_key_is_broken_above():
    assert {check for check, _ in BREAKS} == set(MODEL_STEPS)


def test_for_a_model_that_the_contract_does_not_grant_nobody_is_asked():
    with pytest.raises(
        ModelRefused, match=r"model\.asset: the contract grants serve .*; the sealed model here is 0000"
    ):
        wanted_assets(CONTRACT, "serve", OTHER)


def test_a_section_that_is_none_is_refused_whatever_the_model_is():
    with pytest.raises(SectionsRefused, match=r"section\.form"):
        task_assets(values(secrets=b"no section"), CONTRACT, task="serve", model=MODEL.digest)


def test_no_byte_of_a_key_is_shown():
    shown = [repr(task_assets(values(), CONTRACT, task="serve", model=MODEL.digest))]
    shown += [step.detail for step in examined(values(**{MODEL.name: KEY[1:]})).steps]
    assert not [one for one in shown if KEY[1:9].hex() in one or repr(KEY[1:9])[2:-1] in one]


def test_a_task_has_no_more_sections_than_a_node_can_ask_for_with_its_models_key():
    def form(number):
        assets = tuple(replace(CONTRACT.assets[-1], name=f"section {at}") for at in range(number))
        grants = tuple(replace(CONTRACT.grants[-1], asset=one.name, not_after=NOON + DAY) for one in assets)
        contract = replace(CONTRACT, assets=(MODEL, *assets), grants=(CONTRACT.grants[0], *grants))
        broken = []
        require_contract_form(contract, lambda holds, said: None if holds else broken.append(said))
        return broken

    assert form(MAXIMUM_ASSETS - 1) == []
    assert form(MAXIMUM_ASSETS) == ["serve has more than 15 sections"]
