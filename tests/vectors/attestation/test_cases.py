"""Every recorded case of a real machine is judged as its cases.json says, a reject by the check its reason names."""

import json

import pytest
from tests.vectors.attestation import WrongFact, cases, folder, judged, judges, require_facts
from tests.vectors.attestation.__main__ import main

ABSENT = pytest.mark.skip(f"no recorded evidence under {folder()}: CLOISTER_VECTORS says where it is")
LISTED = [pytest.param(case, id=f"{case.folder.name}-{case.id}") for case in cases()]
ACCEPT = {"id": "one", "kind": "k", "evaluate_at": "2026-01-01T00:00:00Z", "relax": [], "expect": {"verdict": "accept"}}
REJECT = {**ACCEPT, "expect": {"verdict": "reject", "reason": "the date is past"}}
REASONS = [("date", "x.date")]


@pytest.mark.parametrize("case", LISTED or [pytest.param(None, marks=ABSENT)])
def test_a_recorded_case_is_judged_rightly(case):
    judgement = judged(case, judges())
    if judgement.right is None:
        pytest.skip(judgement.sentence)
    assert judgement.right, judgement.sentence


@pytest.fixture
def case(tmp_path, monkeypatch):
    def write(data):
        monkeypatch.setenv("CLOISTER_VECTORS", str(tmp_path))
        vendor = tmp_path / "attestation/vendor"
        vendor.mkdir(parents=True, exist_ok=True)
        (vendor / "cases.json").write_text(json.dumps({"cases": [data]}))
        (one,) = cases()
        return one

    return write


@pytest.mark.parametrize(
    ("data", "failed", "right"),
    [
        (ACCEPT, [], True),
        (ACCEPT, ["x.date"], False),
        (REJECT, [], False),
        (REJECT, ["x.other"], False),
        (REJECT, ["x.other", "x.date"], True),
    ],
)
def test_a_verdict_is_right_by_the_check_that_the_reason_names(case, data, failed, right):
    assert judged(case(data), {"k": (lambda _: failed, REASONS)}).right is right


def test_a_reason_that_names_no_known_step_is_said(case):
    data = {**REJECT, "expect": {"verdict": "reject", "reason": "unheard of"}}
    judgement = judged(case(data), {"k": (lambda _: ["x.date"], REASONS)})
    assert judgement.right
    assert "names no step that we know: unheard of" in judgement.sentence


def test_a_kind_that_nobody_judges_is_not_passed_over(case, capsys):
    case(ACCEPT)
    assert main() == 1
    assert capsys.readouterr().out.endswith("1 cases: 0 right, 0 wrong, 1 not judged\n")


def test_no_cases_are_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLOISTER_VECTORS", str(tmp_path))
    assert main() == 2
    assert "no cases.json" in capsys.readouterr().out


def test_a_fact_that_differs_or_is_not_read_is_wrong(case):
    given = case({**ACCEPT, "facts": {"vmpl": 0}})
    require_facts(given, {"vmpl": 0, "more": 1})
    for found in ({"vmpl": 1}, {}):
        with pytest.raises(WrongFact, match="vmpl"):
            require_facts(given, found)


def test_a_path_is_of_its_vendor_or_of_the_folder_that_it_begins_with(case):
    given = case(ACCEPT)
    for path in ("vendor/here/file", "roots/file"):
        (given.root / path).parent.mkdir(parents=True)
        (given.root / path).write_text(path)
    assert given.read("here/file") == given.read("vendor/here/file") == b"vendor/here/file"
    assert given.read("roots/file") == b"roots/file"
    assert given.at == 1767225600
