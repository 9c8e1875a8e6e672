"""configfs-tsm reports in JSON and in CBOR."""

import json

import cbor2
import pytest
from tests.doubles.made_evidence import tsm, tsm_json

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.tsm_report import MAXIMUM_TSM, parse_tsm_report

MEMBERS = tsm(b"report", b"table")


@pytest.mark.parametrize(
    "encode", [tsm_json, lambda members: cbor2.dumps(members, canonical=True)], ids=["json", "cbor"]
)
def test_both_encodings_say_the_same(encode):
    report = parse_tsm_report(encode(MEMBERS))
    assert (report.provider, report.outblob, report.auxblob) == ("sev_guest\n", b"report", b"table")
    assert parse_tsm_report(encode(tsm(b"report"))).auxblob is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tsm_json(MEMBERS | {"more": "x"}), id="another member"),
        pytest.param(tsm_json({"provider": "sev_guest\n"}), id="no outblob"),
        pytest.param(tsm_json(tsm(b"")), id="empty outblob"),
        pytest.param(tsm_json(tsm(b"report", b"")), id="empty auxblob"),
        pytest.param(tsm_json(MEMBERS | {"provider": "SEV guest"}), id="another kind of provider"),
        pytest.param(json.dumps(MEMBERS | {"outblob": "+/==", "auxblob": "AA"}).encode(), id="plain base64"),
        pytest.param(tsm_json(MEMBERS) + b"x", id="trailing bytes"),
        pytest.param(cbor2.dumps(MEMBERS, canonical=True) + b"\0", id="trailing bytes of CBOR"),
        pytest.param(cbor2.dumps(MEMBERS | {"more": 1}, canonical=True), id="another member of CBOR"),
        pytest.param(cbor2.dumps(tsm(b""), canonical=True), id="empty outblob of CBOR"),
    ],
)
def test_anything_else_is_malformed(data):
    with pytest.raises(MalformedInput):
        parse_tsm_report(data)


@pytest.mark.parametrize("start", [b"{", b"\xa2"], ids=["json", "cbor"])
def test_a_long_one_is_refused_before_any_work(start):
    with pytest.raises(TooLarge):
        parse_tsm_report(start.ljust(MAXIMUM_TSM + 1))
