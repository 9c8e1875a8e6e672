"""`cloister contract` on files: parties' keys, drafts, sentences, signatures; every refusal says what to do."""

import json

import msgspec
import pytest
from click.testing import CliRunner

from cloister.cli import main
from cloister.cli.explained.contract_words import explain_contract, span
from cloister.contract.contract_form import require_contract_form
from cloister.contract.draft import still_open, successor_of
from cloister.errors import CloisterError
from cloister.formats.appraisal_policy import VerifierPlatform
from cloister.formats.contract import Custody, Term
from cloister.formats.contract_file import format_contract_file, parse_contract_file
from cloister.formats.ledger_messages import encode_list
from cloister.formats.record_file import no_comment
from cloister.ledger.statements import open_statement, sign_statement
from cloister.testing.made_verifiers import MadeAzure
from cloister.testing.world import World

replace = msgspec.structs.replace


@pytest.fixture
def cloister(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        found = CliRunner().invoke(main.cli, ["contract", *map(str, arguments)], catch_exceptions=True)
        if isinstance(found.exception, CloisterError):
            raise found.exception
        assert found.exit_code == 0, found.output
        return found.output

    return run


@pytest.fixture
def folder(cloister, tmp_path):
    """Two parties, and a contract that both have read."""
    cloister("party", "The Hospital", "--duty", "data-provider", "--folder", "hospital")
    cloister("party", "Models Ltd", "--duty", "model-owner", "--duty", "operator", "--folder", "vendor")
    genesis = World()
    (tmp_path / "constitution.entries").write_bytes(encode_list([genesis.log.entries[0]]))
    parties = ("--party", "hospital/party.toml", "--party", "vendor/party.toml")
    (tmp_path / "contract.toml").write_text(
        cloister("new", *parties, "--constitution", "constitution.entries", "--name", "Screening")
    )
    return tmp_path


def read(path):
    return parse_contract_file(path.read_bytes())


def test_a_new_contract_is_well_formed_denies_everything_and_says_what_is_open(cloister, folder):
    said = json.loads(cloister("check", "contract.toml", "--json"))
    assert said["name"] == "Screening"
    assert said["not_signed_by"] == ["The Hospital", "Models Ltd"]
    assert "appraisal: no platform is taken" in said["open"]
    assert any("the engine's digest" in one for one in said["open"])
    contract = read(folder / "contract.toml")
    assert [party.name for party in contract.parties] == ["The Hospital", "Models Ltd"]
    assert (contract.changes.number, contract.changes.notice_seconds) == (2, 7 * 86_400)


def test_keys_are_their_owners_alone(folder):
    for name in ("sign.seed", "seal.key"):
        assert (folder / "hospital" / name).stat().st_mode & 0o777 == 0o600
    assert "seed" not in (folder / "hospital" / "party.toml").read_text()


def test_keys_are_never_made_over_others(cloister, folder):
    before = (folder / "hospital" / "sign.seed").read_bytes()
    with pytest.raises(CloisterError, match="name a new folder"):
        cloister("party", "Another", "--duty", "auditor", "--folder", "hospital")
    assert (folder / "hospital" / "sign.seed").read_bytes() == before


def test_parties_sign_one_after_the_other(cloister, folder):
    first = cloister("sign", "contract.toml", "--key", "hospital/sign.seed")
    assert "signed for The Hospital" in first
    assert "not signed yet by Models Ltd" in first
    assert "signed by every party" in cloister("sign", "contract.signed", "--key", "vendor/sign.seed")
    statement = open_statement((folder / "contract.signed").read_bytes())
    keys = {key for party in read(folder / "contract.toml").parties for key in party.keys}
    assert statement.kind == "contract"
    assert statement.signers == keys


def test_signing_twice_is_signing_once(cloister, folder):
    cloister("sign", "contract.toml", "--key", "hospital/sign.seed")
    before = (folder / "contract.signed").read_bytes()
    cloister("sign", "contract.toml", "--key", "hospital/sign.seed")
    assert (folder / "contract.signed").read_bytes() == before


def test_signatures_are_never_put_onto_another_text(cloister, folder):
    cloister("sign", "contract.toml", "--key", "hospital/sign.seed")
    text = (folder / "contract.toml").read_text().replace('name = "Screening"', 'name = "Something else"', 1)
    (folder / "contract.toml").write_text(text)
    with pytest.raises(CloisterError, match="holds another contract"):
        cloister("sign", "contract.toml", "--key", "vendor/sign.seed")


def test_a_stranger_does_not_sign(cloister, folder):
    cloister("party", "A Stranger", "--duty", "auditor", "--folder", "stranger")
    with pytest.raises(CloisterError, match="the key of no party of this contract"):
        cloister("sign", "contract.toml", "--key", "stranger/sign.seed")
    assert not (folder / "contract.signed").exists()


def test_what_people_read_names_what_is_enforced_and_what_is_promised(cloister, folder):
    said = cloister("show", "contract.toml")
    assert "✓ evidence.workload, release.model: The model is used by the named code alone." in said
    assert "not signed yet by The Hospital, Models Ltd" in said
    contract = read(folder / "contract.toml")
    promised = replace(contract, terms=(*contract.terms, Term(text="Nobody is named in a paper.", checks=())))
    (folder / "contract.toml").write_text(format_contract_file(promised, comment=no_comment))
    assert "~ promise: Nobody is named in a paper." in cloister("show", "contract.toml")
    assert "Nobody is named in a paper." in json.loads(cloister("check", "contract.toml", "--json"))["promises"]


def test_a_successor_names_what_it_follows(cloister, folder):
    contract = read(folder / "contract.toml")
    (folder / "next.toml").write_text(cloister("amend", "contract.toml"))
    assert read(folder / "next.toml") == successor_of(contract)
    assert read(folder / "next.toml").previous == contract.digest()


@pytest.mark.parametrize(
    ("line", "by", "reason"),
    [
        ("local = false", "local = no", "at line"),
        ("local = false", "local = false\nlocals = false", "line 5: locals: a key that is not known"),
        ('previous = ""', "", "missing: previous"),
        ('previous = ""', 'previous = "XY"', "line 5: previous"),
        ('duties = ["data-provider"]', 'duties = ["data-thief"]', "is none of: auditor, custodian"),
    ],
    ids=["no TOML", "an unknown field", "a field missing", "no digits", "an unknown duty"],
)
def test_a_file_that_is_no_contract_is_refused_by_its_line(cloister, folder, line, by, reason):
    text = (folder / "contract.toml").read_text()
    assert line in text
    (folder / "contract.toml").write_text(text.replace(line, by, 1))
    with pytest.raises(CloisterError) as refused:
        cloister("check", "contract.toml")
    assert (refused.value.exit_code, "contract.toml" in str(refused.value)) == (2, True)
    if reason.startswith("line"):
        reason = reason.split(": ", 1)[1]
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"not_after": 0}, "ends before it begins"),
        ({"custody": Custody(custodians=("The Hospital",), threshold=1)}, "custodian"),
        ({"terms": (Term(text="x", checks=("no.such-check",)),)}, "without one it is a promise"),
        ({"grants": ()}, ""),
    ],
    ids=["no time", "a custodian without the duty", "a check that there is not", "nothing granted"],
)
def test_a_contract_that_breaks_a_rule_of_its_form_is_refused_by_name(cloister, folder, change, reason):
    contract = replace(read(folder / "contract.toml"), **change)
    (folder / "contract.toml").write_text(format_contract_file(contract, comment=no_comment))
    if not reason:
        assert "no model is granted" in cloister("check", "contract.toml")
        return
    with pytest.raises(CloisterError, match=r"contract\.form") as refused:
        cloister("check", "contract.toml")
    assert reason in str(refused.value)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("name", ["missing", "noise", "a constitution", "a flipped bit"])
def test_what_is_no_signed_contract_is_refused(cloister, folder, name):
    path = folder / "x.signed"
    cloister("sign", "contract.toml", "--key", "hospital/sign.seed", "--out", "good.signed")
    good = (folder / "good.signed").read_bytes()
    contents = {
        "noise": b"\xa4noise",
        "a constitution": World().log.entries[0],
        "a flipped bit": good[:-1] + bytes([good[-1] ^ 1]),
    }
    if name in contents:
        path.write_bytes(contents[name])
    with pytest.raises(CloisterError, match=r"x\.signed"):
        cloister("show", "x.signed")


def test_entries_of_a_line_show_the_last_contract(cloister, folder):
    world = World()
    successor = replace(world.contract, sequence=1, previous=world.contract.digest())
    signers = (world.parties.owner, world.parties.operator)
    entries = [sign_statement("contract", one, signers) for one in (world.contract, successor)]
    (folder / "line.entries").write_bytes(encode_list(entries))
    assert json.loads(cloister("show", "line.entries", "--json"))["sequence"] == 1


def test_what_a_successor_says_otherwise_is_said_by_itself(cloister, folder):
    before = read(folder / "contract.toml")
    hospital, vendor = before.parties
    after = replace(before, parties=(replace(vendor, duties=("operator",)),), terms=())
    (folder / "next.toml").write_text(format_contract_file(after, comment=no_comment))
    said = json.loads(cloister("show", "next.toml", "--since", "contract.toml", "--json"))
    told = [
        (one["subject"], one["says"].partition(":")[0])
        for one in said
        if one["subject"] in (hospital.name, vendor.name)
    ]
    assert (hospital.name, "no part of it any more") in told
    assert (vendor.name, "no more") in told
    assert (vendor.name, "now") in told
    assert f"{hospital.name}: no part of it any more" in cloister("show", "next.toml", "--since", "contract.toml")
    assert "nothing of what people agree on" in cloister("show", "next.toml", "--since", "next.toml")


def test_a_contract_is_the_same_after_it_was_written_and_read():
    contract = World().contract
    assert parse_contract_file(format_contract_file(contract, comment=no_comment).encode()) == contract


def test_every_contract_of_ours_is_explained_and_open_in_nothing():
    world = World()
    assert explain_contract(world.contract).terms[2].held == "promise"
    assert still_open(world.contract) == []
    require_contract_form(world.contract, lambda held, shortfall: None if held else pytest.fail(shortfall))


@pytest.mark.parametrize(("seconds", "said"), [(86_400, "1 day"), (7200, "2 hours"), (60, "1 minute"), (61, "61 s")])
def test_spans_are_said_as_people_say_them(seconds, said):
    assert span(seconds) == said


def test_whose_word_counts_in_place_of_evidence_is_said_first(cloister, folder):
    draft = read(folder / "contract.toml")
    verifiers = VerifierPlatform(verifiers=(MadeAzure().verifier(),))
    believing = replace(draft, appraisal=replace(draft.appraisal, platforms=(verifiers,)))
    (folder / "believing.toml").write_text(format_contract_file(believing, comment=no_comment))
    told = "azure (azure-attestation of https://sharedtest.tst.attest.azure.net)"
    assert f"! the word of {told} counts in place of evidence" in cloister("show", "believing.toml")
    assert f"whose word counts in place of evidence: {told}" in cloister("check", "believing.toml")
    assert json.loads(cloister("check", "believing.toml", "--json"))["verifiers"] == [told]
    assert json.loads(cloister("check", "contract.toml", "--json"))["verifiers"] == []
