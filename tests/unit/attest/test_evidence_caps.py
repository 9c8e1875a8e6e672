"""Evidence of 1 GiB, of any kind that TPMs, Azure VMs and Nitro Enclaves send, is refused before any work."""

import time

import pytest

from cloister.errors import TooLarge
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.event_log import MAXIMUM_EVENTS, SHA384, parse_ccel_log, parse_event_area, parse_event_log
from cloister.formats.hcl_report import parse_hcl_report, parse_runtime_data
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.runtime_log import MAXIMUM_RUNTIME_EVENTS, parse_runtime_log
from cloister.formats.tpm_quote import parse_tpm2b_quote, parse_tpm_public, parse_tpm_quote, parse_tpm_signature
from cloister.testing.event_logs import (
    encode_ccel,
    encode_event_log,
    encode_runtime_log,
    firmware_event,
    runtime_event,
)

GIB = 1 << 30


@pytest.fixture(scope="module")
def gibibyte():
    return bytes(GIB)  # pages that nobody touches are not there


@pytest.mark.parametrize(
    "parse",
    [
        parse_azure_evidence,
        parse_event_area,
        parse_event_log,
        parse_hcl_report,
        parse_nitro_document,
        parse_runtime_data,
        parse_runtime_log,
        parse_tpm2b_quote,
        parse_tpm_public,
        parse_tpm_quote,
        parse_tpm_signature,
        pytest.param(lambda area: parse_ccel_log(encode_ccel(GIB), area), id="parse_ccel_log"),
    ],
)
def test_evidence_of_1_gib_is_refused_before_any_work(parse, gibibyte):
    before = time.process_time()
    with pytest.raises(TooLarge):
        parse(gibibyte)
    assert time.process_time() - before < 0.5  # of CPU; to hash a GiB takes longer


def test_more_events_than_any_machine_has_are_refused():
    event = firmware_event(0, b"")
    with pytest.raises(TooLarge):
        parse_event_log(encode_event_log([event] * (MAXIMUM_EVENTS + 1), algorithms=[SHA384]))
    small = runtime_event(0, "", b"")
    with pytest.raises(TooLarge):
        parse_runtime_log(encode_runtime_log([small] * (MAXIMUM_RUNTIME_EVENTS + 1)))
