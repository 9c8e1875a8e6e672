"""Sections: who may own one, deposit one, and what a node makes of all of them. Each test changes one thing."""

import msgspec
import pytest
from tests.doubles.section_world import OWNERS, SectionWorld, sample_section, section_asset

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.asset_release import AssetsAsked, examine_assets
from cloister.contract.contract_form import require_contract_form
from cloister.contract.fold import advance
from cloister.contract.sections import SECTION_STEPS, SectionsRefused, examine_sections, sections_of
from cloister.crypto.hpke import OpenFailed, unwrap, wrap
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.custody import DEPOSIT_INFO, parse_deposited
from cloister.formats.section import MAXIMUM_SECTION, encode_section, parse_section
from cloister.ledger.statements import sign_statement
from cloister.secret import SecretBytes
from cloister.testing.world import NOON, evidence

replace = msgspec.structs.replace
CHALLENGE = bytes(range(32))
ROOT, WORKLOAD_SECTION = 5, 6  # where the entries stand in the log


@pytest.fixture
def world():
    """All three sections are deposited, each by its persona."""
    made = SectionWorld()
    made.log_all(made.root(), *map(made.section, OWNERS))
    return made


# In the contract: whose a section may be.


def broken_form(contract):
    broken = []
    require_contract_form(contract, lambda holds, said: None if holds else broken.append(said))
    return broken


@pytest.mark.parametrize("kind", OWNERS)
def test_each_kind_of_section_is_its_personas(kind):
    assert broken_form(SectionWorld(assets=(section_asset(kind),), grants=()).contract) == []


@pytest.mark.parametrize(("kind", "owner"), [("workload", "operator"), ("environment", "model owner")])
def test_a_section_of_another_personas_is_no_form_of_a_contract(kind, owner):
    (said,) = broken_form(SectionWorld(assets=(section_asset(kind, owner),), grants=()).contract)
    assert said.startswith(f"{owner}, the owner of the {kind} section {kind}, is no party with the duty")


def test_only_a_secret_is_a_section():
    model = replace(SectionWorld().contract.assets[0], section="workload")
    assert "and a section is a secret" in broken_form(SectionWorld(assets=(model,), grants=()).contract)[0]


# In the fold: who deposits one, and for what.

VOID = [
    ("deposit.signature", lambda world: world.section("workload", world.parties.operator, number=2)),
    ("deposit.signature", lambda world: world.section("environment", world.parties.owner, number=2)),
    ("deposit.signature", lambda world: world.section("secrets", world.custodians["notary"], number=2)),
    ("contract.succession", lambda world: world.section("workload", number=2, contract=SectionWorld().line)),
    ("deposit.contract", lambda world: world.section("workload", number=2, under=(SectionWorld().line,))),
    ("deposit.workloads", lambda world: world.section("workload", number=2, workloads="task")),
    ("deposit.number", lambda world: world.section("workload")),
    ("deposit.number", lambda world: world.section("workload", expires=NOON + 60)),
    ("deposit.expiry", lambda world: world.section("workload", number=2, expires=NOON)),
]


@pytest.mark.parametrize(("reason", "make"), VOID, ids=[f"{at}-{one[0]}" for at, one in enumerate(VOID)])
def test_a_section_that_its_rules_do_not_allow_has_no_effect(world, reason, make):
    before = world.state()
    after = advance(before, make(world))
    assert after.reason.startswith(reason)
    assert after.lines == before.lines


def test_the_next_number_of_its_own_persona_takes_the_place_of_a_section(world):
    after = advance(world.state(), world.section("workload", number=2, under="line"))
    assert after.reason == ""
    assert after.lines[world.line].custody.deposits["workload"].deposit.terms.number == 2


def test_a_section_is_void_with_any_bit_flipped(world):
    entry, before = world.section("workload", number=2), world.state()
    for at in range(0, len(entry), 7):
        flipped = entry[:at] + bytes([entry[at] ^ 1]) + entry[at + 1 :]
        after = advance(before, flipped)
        assert after.reason
        assert after.lines == before.lines


# In the seal: for what it opens.


def test_a_sealed_section_opens_under_its_own_terms_and_no_others(world):
    terms = world.terms(asset="workload", under=(world.line,))
    data = canonical.encode(world.deposited_section("workload"))
    blob = wrap(world.intake().public, data, info=DEPOSIT_INFO, aad=canonical.encode(terms))
    opened = unwrap(world.intake(), blob, info=DEPOSIT_INFO, aad=canonical.encode(terms))
    assert parse_section(SecretBytes(parse_deposited(opened.reveal()).value)) == world.sections["workload"]
    others = {"contract": bytes(32), "asset": "environment", "number": 2, "under": "line", "workloads": (bytes(48),)}
    for name, value in (others | {"task": "train", "expires": NOON, "generation": 2}).items():
        aad = canonical.encode(replace(terms, **{name: value}))
        with pytest.raises(OpenFailed):
            unwrap(world.intake(), blob, info=DEPOSIT_INFO, aad=aad)


# At the KMS: for which contract and code it goes out.


def asked(world, contract):
    subject = contract.digest()
    shown = evidence(world.parties.platform, "gateway", world.gateway, challenge=CHALLENGE, subject=subject)
    return AssetsAsked(world.line, tuple(OWNERS), shown, CHALLENGE, challenge_live=True, seen=SEEN_NOTHING)


def succeeded(world):
    successor = replace(world.contract, sequence=1, previous=world.contract.digest())
    signers = (world.parties.owner, world.parties.operator, *world.custodians.values())
    world.log.append(sign_statement("contract", successor, signers))
    return successor


def test_a_node_gets_the_sections_that_its_contract_grants_it(world):
    decision = examine_assets(world.state(), asked(world, world.contract), at=NOON).require()
    assert [one.deposit.terms.asset for one in decision.deposits] == list(OWNERS)


@pytest.mark.breaks("asset.contract")
def test_a_section_for_one_version_of_the_contract_does_not_go_out_under_the_next(world):
    successor = succeeded(world)
    assert examine_assets(world.state(), asked(world, successor), at=NOON).failed == ["asset.contract"]


def test_a_section_for_the_line_goes_out_under_the_next_version_too():
    world = SectionWorld()
    world.log_all(world.root(), *(world.section(kind, under="line") for kind in OWNERS))
    successor = succeeded(world)
    assert examine_assets(world.state(), asked(world, successor), at=NOON).failed == []


def test_a_section_for_a_proposed_version_too_goes_out_under_both():
    world = SectionWorld()
    successor = replace(world.contract, sequence=1, previous=world.contract.digest())
    both = (world.line, successor.digest())
    world.log_all(world.root(), *(world.section(kind, under=both) for kind in OWNERS))
    assert examine_assets(world.state(), asked(world, world.contract), at=NOON).failed == []
    assert succeeded(world) == successor
    assert examine_assets(world.state(), asked(world, successor), at=NOON).failed == []


def test_a_section_for_other_code_does_not_go_out():
    world = SectionWorld()
    world.log_all(world.root(), *(world.section(kind, workloads=(bytes(48),)) for kind in OWNERS))
    assert set(examine_assets(world.state(), asked(world, world.contract), at=NOON).failed) == {"asset.workload"}


# On the node: what they give together.


def values(**changes):
    sections = {kind: sample_section(kind) for kind in OWNERS} | changes
    return {kind: encode_section(section) for kind, section in sections.items()}


def examined(given):
    return examine_sections(given, SectionWorld().contract, task="serve")


def test_a_nodes_sections_come_together():
    together = examined(values()).require()
    assert {name: value.reveal() for name, value in together.variables.items()} == {
        f"{kind.upper()}_TOKEN": f"token of the {kind}".encode() for kind in OWNERS
    }
    assert sorted(together.files) == ["environment/settings.toml", "secrets/settings.toml", "workload/settings.toml"]


def test_secrets_that_are_no_sections_are_left_out_of_them():
    assert [asset.name for asset in sections_of(SectionWorld().contract, "serve")] == list(OWNERS)


def same_file(kind, path):
    return sample_section(kind, files={path: b""})


BREAKS = [
    ("section.given", {one: value for one, value in values().items() if one != "secrets"}),
    ("section.form", values() | {"secrets": SecretBytes(b"a password")}),
    ("section.kind", values(workload=sample_section("workload", kind="secrets"))),
    ("section.persona", values(workload=sample_section("workload", persona="operator"))),
    ("section.conflict", values(environment=sample_section("environment", variables={"WORKLOAD_TOKEN": "mine"}))),
    ("section.conflict", values(environment=same_file("environment", "workload/settings.toml"))),
    ("section.conflict", values(environment=same_file("environment", "workload"))),
    ("section.conflict", values(environment=same_file("environment", "workload/settings.toml/more"))),
    ("section.conflict", values(workload=sample_section("workload", files={"a": b"", "a/b": b""}))),
]


@pytest.mark.parametrize(
    ("check", "given"), [pytest.param(check, given, marks=pytest.mark.breaks(check)) for check, given in BREAKS]
)
def test_each_broken_link_is_refused_by_its_check_alone(check, given):
    examination = examined(given)
    assert examination.failed == [check]
    with pytest.raises(SectionsRefused, match=check):
        examination.require()


def test_every_step_of_a_nodes_sections_is_broken_above():
    assert {check for check, _ in BREAKS} == set(SECTION_STEPS)


def test_no_value_and_no_name_is_shown():
    given = values(environment=sample_section("environment", variables={"WORKLOAD_TOKEN": "canary of these tests"}))
    shown = [repr(one) for one in (examined(values()).require(), sample_section("workload"), given)]
    shown += [step.detail for step in examined(given).steps]
    assert not [one for one in shown for word in ("canary", "TOKEN", "token of") if word in one]


# As bytes.


def test_a_section_of_the_largest_size_is_sealed_and_one_byte_more_is_not():
    room = MAXIMUM_SECTION - len(encode_section(sample_section("workload", files={"file": bytes(60_000)}))) + 60_000
    assert len(encode_section(sample_section("workload", files={"file": bytes(room)}))) == MAXIMUM_SECTION
    with pytest.raises(TooLarge, match="the cap is 65536"):
        encode_section(sample_section("workload", files={"file": bytes(room + 1)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"variables": {"": "x"}},
        {"variables": {"1X": "x"}},
        {"variables": {"X=Y": "x"}},
        {"variables": {"X\n": "x"}},
        {"variables": {"X": "a\0b"}},
        {"variables": {f"X{at}": "" for at in range(257)}},
        {"files": {"/etc/passwd": b""}},
        {"files": {"../up": b""}},
        {"files": {"a/./b": b""}},
        {"files": {"a//b": b""}},
        {"files": {"-rf": b""}},
        {"files": {"a\n": b""}},
        {"files": {f"f{at}": b"" for at in range(65)}},
        {"kind": "model"},
        {"persona": ""},
    ],
    ids=str,
)
def test_what_no_section_may_hold_does_not_parse(changes):
    with pytest.raises(MalformedInput, match="is none"):
        parse_section(SecretBytes(canonical.encode(sample_section("workload", **changes))))
