"""Evidence of 1 GiB, of any kind, and endorsements too, are refused before any work and in no memory of their own."""

import time
import tracemalloc

import pytest
from tests.fuzz import hardware_parsers

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.event_log import MAXIMUM_EVENTS, SHA384, parse_ccel_log, parse_event_log
from cloister.formats.evidence import parse_evidence
from cloister.formats.runtime_log import MAXIMUM_RUNTIME_EVENTS, parse_runtime_log
from cloister.testing.event_logs import (
    encode_ccel,
    encode_event_log,
    encode_runtime_log,
    firmware_event,
    runtime_event,
)

GIB = 1 << 30
CUT_FIRST = {"ccel_log", "hcl_in_index", "snp_certificate_buffer"}  # targets that cut a buffer before they parse
PARSERS = {
    **{
        name: parse
        for group in (
            hardware_parsers.snp_targets,
            hardware_parsers.log_targets,
            hardware_parsers.tpm_targets,
            hardware_parsers.azure_targets,
            hardware_parsers.intel_targets,
            hardware_parsers.nvidia_targets,
            hardware_parsers.endorsement_targets,
        )
        for name, (parse, _) in group().items()
        if name not in CUT_FIRST
    },
    "evidence": parse_evidence,
    "ccel_area": lambda area: parse_ccel_log(encode_ccel(GIB), area),
}


@pytest.fixture(scope="module")
def gibibyte():
    return bytes(GIB)  # pages that nobody touches are not there


@pytest.mark.parametrize("name", PARSERS)
def test_evidence_of_1_gib_is_refused_before_any_work(name, gibibyte):
    tracemalloc.start()
    try:
        before = time.process_time()
        with pytest.raises((TooLarge, MalformedInput)):
            PARSERS[name](gibibyte)
        assert time.process_time() - before < 0.5  # of CPU; to hash a GiB takes longer
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024  # bytes
    finally:
        tracemalloc.stop()


def test_more_events_than_any_machine_has_are_refused():
    event = firmware_event(0, b"")
    with pytest.raises(TooLarge):
        parse_event_log(encode_event_log([event] * (MAXIMUM_EVENTS + 1), algorithms=[SHA384]))
    small = runtime_event(0, "", b"")
    with pytest.raises(TooLarge):
        parse_runtime_log(encode_runtime_log([small] * (MAXIMUM_RUNTIME_EVENTS + 1)))
