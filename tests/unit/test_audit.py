"""`cloister.contract.audit`: nothing is found in an honest ledger, and every forgery is named where it stands."""

from typing import get_args

import msgspec
import pytest
from tests.doubles.custody_system import CustodySystem, WantingNode
from tests.doubles.custody_world import SECRET
from tests.doubles.forged_ledgers import FORGERIES, Forger
from tests.doubles.honest_ledger import HonestLedger, lived
from tests.doubles.kms_system import Link

from cloister.contract.audit.auditor import audit
from cloister.contract.audit.findings import AUDIT_STEPS
from cloister.contract.audit.notes import ShownNote
from cloister.contract.audit.payloads import PARSERS, read_entry
from cloister.contract.audit.words import WORDS
from cloister.formats.statement import Kind
from cloister.ledger.statements import sign_statement
from cloister.secret import SecretBytes

replace = msgspec.structs.replace

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


async def test_a_use_that_is_put_into_the_log_again_is_named_and_spends_nothing():
    """The ledger's host does it; the KMS whose entry it is gets no blame."""
    system = CustodySystem(uses=2)
    kms = await system.started()
    await system.deposit(kms)
    await WantingNode(system).assets_of(kms)
    entries = [*system.world.log.entries, system.world.log.entries[-1]]
    system.world.log.append(entries[-1])
    note = ShownNote(system.world.log.checkpoint(at=system.now))
    audited = audit(entries, system.ledger.blobs, [note], genesis=system.constitution.digest())
    assert [(one.severity, one.index, one.check) for one in audited.findings] == [
        ("fault", len(entries) - 1, "audit.once")
    ]
    assert audited.entries[-1].broken == "use.number"
    await kms.follow()
    assert (await WantingNode(system).assets_of(kms)).values == {"password": SecretBytes(SECRET)}


def test_every_kind_of_statement_is_read_and_told():
    assert KINDS == PARSERS.keys() == WORDS.keys()


# What honest KMS instances do to each other is no fault.


def said(system, index):
    record = read_entry(system.entries[index])
    assert record is not None
    return record


async def test_nothing_is_found_where_one_instance_hands_its_keys_to_another():
    system = HonestLedger()
    to_first = Link()
    first = to_first.kms = await system.instance("first")
    await system.release("release", first)
    second = await system.instance("second", peers=[to_first])
    await system.release("release of a key that was handed over", second)
    assert "handover" in [entry.kind for entry in system.audit().entries]
    assert system.audit().findings == ()


async def test_an_instance_that_releases_a_key_which_nobody_handed_to_it_is_found():
    system = HonestLedger()
    first = await system.instance("first")
    await system.release("release", first)
    await system.instance("second")
    release = said(system, system.places["release"])
    await system.log("stolen", sign_statement("release", release, (system.instances["second"],)))
    (found,) = system.audit().findings
    assert (found.severity, found.index, found.check) == ("fault", system.places["stolen"], "release.epoch")


async def test_of_two_instances_that_rotate_at_once_the_second_is_a_note():
    system = HonestLedger()
    await system.instance("first")
    record = replace(said(system, system.places["first"] + 1), stale_until=system.now + 86_401)
    other = sign_statement("epoch", record, (system.instances["first"],))
    await system.log("late", other)
    (found,) = system.audit().findings
    assert (found.severity, found.index, found.check) == ("note", system.places["late"], "audit.overtaken")
