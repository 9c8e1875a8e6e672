"""`cloister.contract.audit`: nothing is found in an honest ledger, and every forgery is named where it stands."""

from typing import get_args

import pytest
from tests.doubles.forged_ledgers import FORGERIES, Forger
from tests.doubles.honest_ledger import lived

from cloister.contract.audit.findings import AUDIT_STEPS
from cloister.contract.audit.payloads import PARSERS
from cloister.contract.audit.words import WORDS
from cloister.formats.statement import Kind

KINDS = {kind for part in get_args(Kind) for kind in get_args(part)}


@pytest.fixture(scope="module")
def honest():
    return lived()


def test_nothing_is_found_in_an_honest_ledger(honest):
    audited = honest.audit()
    assert audited.findings == ()
    assert audited.checkpoint.size == len(honest.entries)
    assert all(entry.counts for entry in audited.entries)


def test_nothing_is_found_where_nothing_was_changed_but_signed_anew(honest):
    forger = Forger(honest)
    forger.retell()
    assert forger.entries != honest.entries
    assert forger.audit().findings == ()


def marked(name):
    """Forgeries that the fold alone would not name stand for a check of the catalogue."""
    check = FORGERIES[name].check
    return pytest.param(name, marks=[pytest.mark.breaks(check)] if check in AUDIT_STEPS else [])


@pytest.mark.parametrize("name", [marked(name) for name in FORGERIES])
def test_a_forgery_is_named_where_it_stands(honest, name):
    forgery = FORGERIES[name]
    forger = forgery.made(honest)
    found = forger.audit().findings
    wanted = (forgery.severity, forgery.place(forger), forgery.check)
    assert wanted in [(one.severity, one.index, one.check) for one in found]
    before = {one.severity for one in found if one.index is not None and one.index < wanted[1]} if wanted[1] else set()
    assert before <= {"note", "warning"}, "what was changed is not the first that is found"


def test_every_kind_of_statement_is_read_and_told():
    assert KINDS == PARSERS.keys() == WORDS.keys()
