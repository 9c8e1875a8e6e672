"""Whatever bytes `cloister evidence show` is given, it spells them out or says what they are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.made_evidence import made_evidence, tsm, tsm_json

from cloister.cli.explained.formats import explain
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.tsm_report import parse_tsm_report

MADE = made_evidence()


@given(st.binary(max_size=2000))
def test_any_bytes_are_explained_or_malformed(data):
    try:
        assert explain(data).parts
    except (MalformedInput, TooLarge):
        return


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=25)
@given(data=st.data())
def test_evidence_with_other_bytes_in_it_is_explained_or_malformed(name, data):
    changed = bytearray(MADE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert explain(bytes(changed)).parts
    except (MalformedInput, TooLarge):
        return


@given(report=st.binary(min_size=1), table=st.none() | st.binary(min_size=1))
def test_any_blobs_travel_in_a_tsm_report(report, table):
    parsed = parse_tsm_report(tsm_json(tsm(report, table)))
    assert (parsed.outblob, parsed.auxblob) == (report, table)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_tsm_report_or_malformed(data):
    try:
        assert parse_tsm_report(data).outblob
    except (MalformedInput, TooLarge):
        return
