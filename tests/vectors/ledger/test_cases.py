"""Every published case of logs is judged as its source says, or named as not judged with the reason."""

import shutil

import pytest
from tests.vectors.ledger import Case, NotJudged, Wrong, cases, folder, judged, sets, skip, verdict
from tests.vectors.ledger.__main__ import main

from cloister.errors import MalformedInput

ABSENT = pytest.mark.skip(f"no published vectors under {folder()}: CLOISTER_VECTORS says where they are")
CASES = cases()
LISTED = [
    pytest.param(name, marks=() if any(one.startswith(f"{name}/") for one in CASES) else ABSENT) for name in sets()
]


@pytest.mark.parametrize("name", LISTED)
def test_no_case_of_a_set_is_judged_wrongly(name):
    judgements = [judged(one, case) for one, case in CASES.items() if one.startswith(f"{name}/")]
    assert [f"{one.name}: {one.sentence}" for one in judgements if one.right is False] == []
    assert [one for one in judgements if one.right]


def raising(error):
    def judge():
        raise error

    return judge


@pytest.mark.parametrize(
    ("judge", "right"),
    [
        (lambda: "accepted", True),
        (raising(Wrong("accepted")), False),
        (raising(NotJudged("no format")), None),
        (raising(MalformedInput("not a note")), False),
        (raising(FileNotFoundError("a file")), False),
        (skip("no module"), None),
    ],
)
def test_a_judgement_says_whether_the_verdict_is_right(judge, right):
    assert judged("set/one", Case("one", judge)).right is right


@pytest.mark.parametrize("accept", [True, False])
def test_another_verdict_than_the_source_states_is_wrong(accept):
    good, bad = (lambda: None), raising(MalformedInput("no"))
    assert verdict(good if accept else bad, MalformedInput, accept=accept)
    with pytest.raises(Wrong):
        verdict(bad if accept else good, MalformedInput, accept=accept)


@pytest.fixture
def vectors(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOISTER_VECTORS", str(tmp_path))
    return tmp_path / "ledger"


def test_a_set_that_no_module_claims_is_listed_by_name_and_not_counted_as_passed(vectors, capsys):
    (vectors / "unheard-of").mkdir(parents=True)
    (vectors / "unheard-of/one.bin").write_bytes(b"")
    assert main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "NOT JUDGED  unheard-of/one.bin: no module judges this set",
        "unheard-of: 1 cases: 0 right, 0 wrong, 1 not judged",
        "all: 1 cases: 0 right, 0 wrong, 1 not judged",
    ]


def test_a_wrong_verdict_fails_the_command(vectors, capsys):
    (vectors / "in-toto").mkdir(parents=True)
    (vectors / "in-toto/statement-badType.json").write_text(
        '{"_type": "https://in-toto.io/Statement/v1", "predicateType": "p", "subject": [{"digest": {"sha256": "00"}}]}'
    )
    assert main(brief=True) == 1
    assert "WRONG       in-toto/statement-badType: accepted, and is to be refused" in capsys.readouterr().out


def test_cases_that_come_later_are_found_by_the_folders_structure(vectors):
    (vectors / "merkle-rfc6962/inclusion/deep/er").mkdir(parents=True)
    (vectors / "merkle-rfc6962/inclusion/deep/er/new.json").write_text("{}")
    assert list(cases()) == ["merkle-rfc6962/inclusion/deep/er/new.json"]


def test_where_there_is_nothing_the_command_says_where_it_looked(vectors, capsys):
    assert main() == 2
    assert str(vectors) in capsys.readouterr().out


def flip(path):
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


@pytest.mark.parametrize(
    "pattern",
    [
        "tlog-tiles/*/tile/0/000.p/*",
        "tlog-tiles/*/tile/entries/000.p/*",
        "tlog-tiles/*/checkpoint.[0-9]*",
        "model-signing/*/signme-1",
        "jcs-rfc8785/output/*.json",
        "cose-receipts/scitt-cose-v1/valid-*/receipt.cose",
        "cose-receipts/scitt-cose-v1/valid-*/statement.cose",
        "cose-receipts/scitt-ccf/uvm*.cose",
        "cose-receipts/ietf-examples/*.cbor",
    ],
)
def test_a_file_that_was_changed_is_judged_wrongly(pattern, vectors, tmp_path, monkeypatch):
    monkeypatch.delenv("CLOISTER_VECTORS")
    there = sorted(folder().glob(pattern))
    if not there:
        pytest.skip(f"no {pattern} under {folder()}")
    name = pattern.partition("/")[0]
    shutil.copytree(folder() / name, vectors / name)
    flip(vectors / there[0].relative_to(folder()))
    monkeypatch.setenv("CLOISTER_VECTORS", str(tmp_path))
    assert any(judged(one, case).right is False for one, case in cases().items())
