"""Event logs are replayed into the registers that were signed, all of them, and prove what they measured alone."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors.attestation import folder

from cloister.attest.replay import LogRefused, authenticate_pcrs, authenticate_rtmrs
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.event_log import (
    MAXIMUM_LOG,
    SHA1,
    SHA256,
    SHA384,
    LoggedEvent,
    parse_ccel_log,
    parse_event_area,
    parse_event_log,
)
from cloister.formats.runtime_log import MAXIMUM_RUNTIME_LOG, RuntimeEvent, parse_runtime_log
from cloister.testing.event_logs import (
    encode_ccel,
    encode_event_log,
    encode_runtime_log,
    extended,
    firmware_event,
    runtime_event,
    startup_locality,
)

ZERO = bytes(48)
FIRMWARE = [firmware_event(1, b"boot"), firmware_event(2, b"loader"), firmware_event(1, b"tables")]
TD_LOG = encode_event_log(FIRMWARE, algorithms=[SHA384])
RTMRS = (
    extended([FIRMWARE[0].digests[SHA384], FIRMWARE[2].digests[SHA384]], begin=ZERO),
    extended([FIRMWARE[1].digests[SHA384]], begin=ZERO),
    ZERO,
    ZERO,
)
RUNTIME = [RuntimeEvent(0, 10, b"\1" * 48, "", b"hint"), runtime_event(3, "compose-hash", b"\2" * 32)]
RUNTIME_RTMRS = (extended([b"\1" * 48], begin=ZERO), ZERO, ZERO, extended([RUNTIME[1].digest], begin=ZERO))
RECORDED = folder() / "intel-tdx"


def refused(log, rtmrs):
    with pytest.raises(LogRefused) as caught:
        authenticate_rtmrs(log, rtmrs)
    return str(caught.value)


def runtime_log(*events):
    return parse_runtime_log(encode_runtime_log(events))


def test_a_tds_log_is_replayed_into_all_four_rtmrs():
    log = authenticate_rtmrs(parse_event_log(TD_LOG), RTMRS)
    assert log.registers == dict(enumerate(RTMRS))
    assert [(one.register, one.data) for one in log.events] == [(0, b"boot"), (1, b"loader"), (0, b"tables")]


def test_a_running_systems_log_proves_names_and_payloads():
    log = authenticate_rtmrs(runtime_log(*RUNTIME), RUNTIME_RTMRS)
    assert [(one.register, one.name, one.data) for one in log.events] == [(3, "compose-hash", b"\2" * 32)]


@pytest.mark.parametrize("register", range(4))
def test_a_log_that_does_not_give_one_register_is_refused(register):
    rtmrs = [b"\7" * 48 if index == register else value for index, value in enumerate(RTMRS)]
    assert refused(parse_event_log(TD_LOG), rtmrs) == f"replaying the event log does not give the signed RTMR{register}"


def test_rtmr3_is_never_checked_alone():
    with pytest.raises(ValueError, match="four RTMRs"):
        authenticate_rtmrs(runtime_log(*RUNTIME), RUNTIME_RTMRS[3:])
    assert "RTMR0" in refused(runtime_log(RUNTIME[1]), RUNTIME_RTMRS)


@pytest.mark.parametrize("digest", [b"", bytes(48), b"\1" * 32])
def test_empty_event_log_digests_are_refused(digest):
    slipped_in = replace(runtime_event(3, "app-id", b"another"), digest=digest)
    assert "nothing measured it" in refused(runtime_log(*RUNTIME, slipped_in), RUNTIME_RTMRS)
    other = replace(slipped_in, type=4)
    assert "nothing measured it" in refused(runtime_log(*RUNTIME, other), RUNTIME_RTMRS)


def test_an_empty_digest_of_firmware_is_refused():
    empty = replace(FIRMWARE[0], digests={SHA384: bytes(48)})
    log = parse_event_log(encode_event_log([*FIRMWARE, empty], algorithms=[SHA384]))
    assert "nothing measured it" in refused(log, RTMRS)


@pytest.mark.parametrize("change", [{"name": "app-id"}, {"payload": b"\3" * 32}])
def test_a_runtime_event_that_its_digest_does_not_measure_is_refused(change):
    told = replace(RUNTIME[1], **change)
    assert "not what its digest measures" in refused(runtime_log(RUNTIME[0], told), RUNTIME_RTMRS)


def test_a_colon_cannot_move_a_payload_into_a_name():
    true = runtime_event(3, "a", b"b:c")
    told = replace(true, name="a:b", payload=b"c")
    assert "colon" in refused(runtime_log(RUNTIME[0], told), RUNTIME_RTMRS)


def test_what_firmware_measured_cannot_be_told_as_an_event_of_the_running_system():
    """Whoever writes a boot command line could otherwise name the workload: the type is not measured."""
    told = runtime_event(1, "compose-hash", b"another")
    preimage = (0x08000001).to_bytes(4, "little") + b":compose-hash:another"
    true = replace(told, type=0x0D, name="", payload=preimage)
    rtmrs = [bytes(48), extended([told.digest], begin=ZERO), bytes(48), bytes(48)]
    (proved,) = authenticate_rtmrs(runtime_log(true), rtmrs).events
    assert (proved.register, proved.name, proved.data) == (1, "", preimage)
    assert authenticate_rtmrs(runtime_log(told), rtmrs).events == ()


def test_rtmr3_proves_events_of_the_running_system_and_no_others():
    other = RuntimeEvent(3, 0x0D, hashlib.sha384(b"bare").digest(), "", b"bare")
    rtmrs = [bytes(48)] * 3 + [extended([other.digest], begin=ZERO)]
    assert authenticate_rtmrs(runtime_log(other), rtmrs).events == ()


def test_a_firmware_event_proves_only_what_its_digest_is_of():
    told = replace(FIRMWARE[0], data=b"told")
    log = authenticate_rtmrs(parse_event_log(encode_event_log([told, *FIRMWARE[1:]], algorithms=[SHA384])), RTMRS)
    assert [one.data for one in log.events] == [b"loader", b"tables"]


def test_an_event_that_only_informs_is_not_extended():
    log = encode_event_log([startup_locality(0), *FIRMWARE], algorithms=[SHA384])
    assert authenticate_rtmrs(parse_event_log(log), RTMRS).registers == dict(enumerate(RTMRS))


@pytest.mark.parametrize(("register", "words"), [(0, "MRTD"), (5, "register 4")])
def test_an_event_of_a_register_that_no_td_extends_is_refused(register, words):
    log = parse_event_log(encode_event_log([firmware_event(register, b"x")], algorithms=[SHA384]))
    assert words in refused(log, RTMRS)


def test_a_log_without_the_bank_is_refused():
    assert "no digests of algorithm 0x000c" in refused(
        parse_event_log(encode_event_log(FIRMWARE, algorithms=[SHA256])), RTMRS
    )


PCR_EVENTS = [
    startup_locality(3),
    firmware_event(0, b"crtm"),
    firmware_event(4, b"loader"),
    firmware_event(17, b"drtm"),
]
PCR_LOG = parse_event_log(encode_event_log(PCR_EVENTS))
PCRS = {
    0: extended([PCR_EVENTS[1].digests[SHA256]], begin=bytes(31) + b"\3", name="sha256"),
    4: extended([PCR_EVENTS[2].digests[SHA256]], begin=bytes(32), name="sha256"),
    7: bytes(32),
    17: extended([PCR_EVENTS[3].digests[SHA256]], begin=b"\xff" * 32, name="sha256"),
}


def test_a_tpms_log_is_replayed_from_where_each_pcr_begins():
    log = authenticate_pcrs(PCR_LOG, PCRS, algorithm=SHA256, registers=[0, 4, 7, 17])
    assert log.registers == PCRS
    assert [one.data for one in log.events] == [b"crtm", b"loader", b"drtm"]


def test_only_the_named_pcrs_are_explained():
    log = authenticate_pcrs(PCR_LOG, {0: PCRS[0], 4: bytes(32)}, algorithm=SHA256, registers=[0])
    assert [one.data for one in log.events] == [b"crtm"]


@pytest.mark.parametrize(
    ("pcrs", "algorithm", "registers", "words"),
    [
        (PCRS | {4: bytes(32)}, SHA256, [0, 4], "does not give the signed PCR4"),
        (PCRS, SHA256, [5], "PCR 5 is not among those"),
        (PCRS, SHA1, [0], "not taken"),
        (PCRS, 0x12, [0], "not taken"),
        (PCRS, 0x0D, [0], "no digests of algorithm"),
    ],
)
def test_a_tpms_log_that_does_not_hold_is_refused(pcrs, algorithm, registers, words):
    with pytest.raises(LogRefused, match=words):
        authenticate_pcrs(PCR_LOG, pcrs, algorithm=algorithm, registers=registers)


def test_a_log_that_explains_no_pcr_is_a_mistake():
    with pytest.raises(ValueError, match="name the PCRs"):
        authenticate_pcrs(PCR_LOG, PCRS, algorithm=SHA256, registers=[])


def test_the_area_and_its_table_belong_together():
    area = TD_LOG + b"\xff" * 100
    assert parse_ccel_log(encode_ccel(len(area)), area) == parse_event_log(TD_LOG)
    with pytest.raises(MalformedInput, match="the area has"):
        parse_ccel_log(encode_ccel(len(area)), area + b"\xff")
    with pytest.raises(MalformedInput, match="checksum"):
        parse_ccel_log(encode_ccel(len(area))[:-1] + b"\1", area)


@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("filler", [b"\xff", b"\0"])
def test_only_one_filler_may_follow_in_an_area(filler, size):
    assert parse_event_area(TD_LOG + filler * size) == parse_event_log(TD_LOG)
    with pytest.raises(MalformedInput):
        parse_event_area(TD_LOG + filler * size + b"\1")
    with pytest.raises(MalformedInput):
        parse_event_log(TD_LOG + filler * size)


LOCAL = LoggedEvent(0, 3, startup_locality(3).digests, b"StartupLocality\0\3\0")


@pytest.mark.parametrize(
    "log",
    [
        b"",
        TD_LOG[:-1],
        TD_LOG + b"\0",
        b"\2" + TD_LOG[1:],
        TD_LOG[:8] + b"\1" + TD_LOG[9:],
        TD_LOG[:32] + b"T" + TD_LOG[33:],
        TD_LOG.replace(b"\x0c\0\x30\0", b"\x0c\0\x20\0", 1),
        encode_event_log([firmware_event(24, b"x")]),
        encode_event_log([], algorithms=[]),
        encode_event_log([], algorithms=[SHA384, SHA384]),
        encode_event_log([startup_locality(0), startup_locality(0)]),
        encode_event_log([firmware_event(0, b"x"), startup_locality(3)]),
        encode_event_log([LOCAL]),
    ],
)
def test_what_is_no_log_is_malformed(log):
    with pytest.raises(MalformedInput):
        parse_event_log(log)


def test_logs_have_caps_before_any_work():
    with pytest.raises(TooLarge):
        parse_event_log(bytes(MAXIMUM_LOG + 1))
    with pytest.raises(TooLarge):
        parse_runtime_log(bytes(MAXIMUM_RUNTIME_LOG + 1))


def test_digits_have_one_spelling():
    shouted = encode_runtime_log(RUNTIME).replace(b"0101", b"0A0A", 1)
    with pytest.raises(MalformedInput, match="lower-case"):
        parse_runtime_log(shouted)


@pytest.mark.parametrize(("old", "new"), [(b'"imr": 3', b'"imr": 4'), (b'"event"', b'"Event"'), (b"[", b'{"log": [')])
def test_what_is_no_log_in_json_is_malformed(old, new):
    with pytest.raises(MalformedInput):
        parse_runtime_log(encode_runtime_log(RUNTIME).replace(old, new))


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda end: TD_LOG[:90] + end))
def test_any_bytes_either_parse_or_are_malformed(data):
    for parse in (parse_event_log, parse_event_area, parse_runtime_log, lambda log: parse_ccel_log(log[:56], log[56:])):
        try:
            parse(data)
        except MalformedInput:
            continue


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded evidence at {RECORDED}")
def test_a_recorded_log_of_a_td_gives_its_rtmrs():
    case = RECORDED / "tdx-v4-gce-ccel"
    quote = (case / "quote.bin").read_bytes()
    rtmrs = [quote[376 + 48 * index : 424 + 48 * index] for index in range(4)]  # of the TD report behind 48 bytes
    log = parse_ccel_log((case / "ccel_table.bin").read_bytes(), (case / "ccel_data.bin").read_bytes())
    assert len(authenticate_rtmrs(log, rtmrs).events) > 10
