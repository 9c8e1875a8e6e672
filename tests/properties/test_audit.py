"""Whatever is done to the entries under a checkpoint, an audit finds it; and no input makes it do anything but tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.forged_ledgers import STRANGER
from tests.doubles.honest_ledger import lived

from cloister.contract.audit.auditor import Auditor, audit
from cloister.contract.audit.notes import ShownNote
from cloister.contract.audit.payloads import PARSERS, read_entry
from cloister.crypto.cose import sign1
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.statement import Statement, content_type

SIZE = 33


def faults(entries):
    """What an audit of these entries finds under the honest ledger's checkpoint, with its evidence."""
    honest = lived()
    notes = [ShownNote(honest.world.log.checkpoint(at=honest.now))]
    found = audit(entries, honest.ledger.blobs, notes, genesis=honest.constitution.digest()).findings
    return {one.check for one in found if one.severity == "fault"}


def test_the_ledger_is_as_long_as_these_properties_take_it_to_be():
    assert len(lived().entries) == SIZE
    assert faults(lived().entries) == set()


@given(size=st.integers(0, SIZE - 1))
@settings(max_examples=10)
def test_a_log_that_is_cut_off_is_found(size):
    assert faults(lived().entries[:size]) >= {"audit.size" if size else "constitution.genesis"}


@given(order=st.permutations(range(SIZE)).filter(lambda order: order != list(range(SIZE))))
@settings(max_examples=15)
def test_entries_in_another_order_are_found(order):
    found = faults([lived().entries[index] for index in order])
    assert found & {"audit.root", "constitution.genesis"}


@given(first=st.integers(1, SIZE - 2))
@settings(max_examples=15)
def test_two_neighbours_that_changed_places_are_found(first):
    entries = list(lived().entries)
    entries[first : first + 2] = reversed(entries[first : first + 2])
    assert "audit.root" in faults(entries)


@given(index=st.integers(0, SIZE - 1), place=st.integers(0, 2**16), flip=st.integers(1, 255))
@settings(max_examples=25)
def test_a_flipped_byte_is_found_and_where(index, place, flip):
    entries = list(lived().entries)
    entry = bytearray(entries[index])
    entry[place % len(entry)] ^= flip
    entries[index] = bytes(entry)
    found = faults(entries)
    assert {"audit.entry", "audit.root"} <= found or (index == 0 and "constitution.genesis" in found)


def said_by_a_stranger(kind, payload):
    """An entry that any ledger takes: its signature holds, whatever its payload says."""
    signature = sign1(STRANGER, payload, content_type=content_type(kind), detached=True)
    return canonical.encode(Statement(kind=kind, payload=payload, signatures=(signature,)))


payloads = st.binary(min_size=1, max_size=200) | st.sampled_from(
    [canonical.encode(record) for record in map(read_entry, lived().entries) if record is not None]
)
noise = st.builds(said_by_a_stranger, st.sampled_from(sorted(PARSERS)), payloads)


@given(junk=st.lists(noise | st.binary(max_size=300) | st.sampled_from(lived().entries), max_size=12))
@settings(max_examples=40)
def test_an_audit_of_anything_ends_and_tells_of_every_entry(junk):
    honest = lived()
    entries = [*honest.entries[:5], *junk]
    audited = audit(entries, {}, [], genesis=honest.constitution.digest())
    assert [one.index for one in audited.entries] == list(range(len(entries)))
    void = {one.index for one in audited.entries if not one.counts}
    assert void <= {one.index for one in audited.findings}


@given(noised=noise)
@settings(max_examples=30)
def test_noise_of_a_stranger_is_no_fault(noised):
    entries = [*lived().entries[:5], noised]
    found = audit(entries, lived().ledger.blobs, [], genesis=lived().constitution.digest()).findings
    assert {one.severity for one in found} <= {"warning", "note"}


@given(note=st.binary(max_size=400))
def test_a_note_that_is_none_is_refused_by_name(note):
    with pytest.raises((MalformedInput, TooLarge), match="what was given is no checkpoint"):
        Auditor(genesis=bytes(32), notes=[ShownNote(note, "what was given")])
