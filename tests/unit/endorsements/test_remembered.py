"""What a store has seen is held against what evidence brings along."""

from typing import Any

import pytest
from tests.doubles.vendor_evidence import NOON, VENDORS

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.attest.tdx.authentic import examine_tdx
from cloister.endorsements.offered import parts_of_collateral
from cloister.endorsements.remembered import seen_in
from cloister.endorsements.store import EndorsementStore
from cloister.testing.tdx_hardware import DAY, moment


@pytest.fixture
def store(tmp_path):
    return EndorsementStore(tmp_path, VENDORS.roots)


def test_an_empty_store_has_seen_nothing(store):
    assert seen_in(store) == SEEN_NOTHING


def test_an_older_list_beside_a_report_is_refused(store):
    store.take(VENDORS.amd_revocations(), at=NOON).require()
    report, key = VENDORS.snp.sign(VENDORS.snp.report()), VENDORS.amd_key()
    for age, failed in ((DAY, []), (2 * DAY, ["snp.freshness"])):
        endorsed = SnpEndorsements(key.chain, (VENDORS.amd_revocations(age=age).data,))
        examination = examine_snp(report, endorsed, roots=VENDORS.roots.amd, at=NOON, unsafe=(), seen=seen_in(store))
        assert examination.failed == failed


OLDER: dict[str, tuple[dict[str, Any], dict[str, Any], int, list[str]]] = {
    "the same": ({}, {}, DAY, []),
    "older TCB info": ({"issueDate": moment(NOON - 2 * DAY)}, {}, DAY, ["tdx.rollback"]),
    "a lower number": ({"tcbEvaluationDataNumber": 17}, {}, DAY, ["tdx.rollback"]),
    "an older identity": ({}, {"issueDate": moment(NOON - 2 * DAY)}, DAY, ["tdx.rollback"]),
    "older lists": ({}, {}, 2 * DAY, ["tdx.rollback"]),
}


@pytest.mark.parametrize("name", OLDER)
def test_older_collateral_beside_a_quote_is_refused(name, store):
    info, identity, age, failed = OLDER[name]
    for kept in parts_of_collateral(VENDORS.tdx.collateral()):
        store.take(kept, at=NOON).require()
    hardware = VENDORS.tdx
    brought = hardware.collateral(
        tcb_info=hardware.tcb_info(**info), qe_identity=hardware.qe_identity(**identity), lists=VENDORS.lists(age=age)
    )
    examination = examine_tdx(hardware.quote(), brought, roots=VENDORS.roots.intel, at=NOON, seen=seen_in(store))
    assert examination.failed == failed
