"""configfs-tsm, asked as the kernel documents it, by way of a kernel that behaves so."""

import errno
from dataclasses import replace

import pytest
from tests.doubles.tee_reports import CHIP, TABLE, TDX, snp_report, td_quote
from tests.doubles.tsm_kernel import TsmKernel

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.attest.tdx.authentic import examine_tdx
from cloister.formats.snp_certificate_table import ARK, ASK, VCEK, VLEK
from cloister.formats.snp_report import SigningKey
from cloister.tee.collectors.collected import NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.configfs_tsm import ConfigfsTsm, tsm_provider
from cloister.tee.collectors.machine import Machine
from cloister.testing.snp_hardware import certificate_table
from cloister.testing.world import NOON

DATA, CHALLENGE = bytes(range(64)), b"c" * 32


def machine_with(kernel, waits=None):
    return Machine(calls=kernel, sleep=[].append if waits is None else waits.append)


def snp(kernel, waits=None, **changes):
    return ConfigfsTsm(machine_with(kernel, waits), "snp", **changes).collect(DATA, challenge=CHALLENGE)


def other_writer(kernel):
    for entry in kernel.entries.values():
        entry.write_generation += 1
        entry.inblob = bytes(64)


def test_a_report_and_the_hosts_certificates_are_accepted_by_the_examination_of_snp():
    kernel = TsmKernel(snp_report)
    collected = snp(kernel)
    kinds = [one.kind for one in collected.endorsements]
    assert kinds == ["amd-certificates"] * 3 + ["amd-revocations"]
    *certificates, revocations = [one.data for one in collected.endorsements]
    endorsements = SnpEndorsements(tuple(certificates), (revocations,))
    examined = examine_snp(collected.report, endorsements, roots=CHIP.roots, at=NOON, unsafe=(), seen=SEEN_NOTHING)
    assert examined.require().report.report_data == DATA
    assert (kernel.entries, kernel.opened, kernel.removed) == ({}, {}, 1)


def test_a_quote_is_cut_out_of_a_longer_buffer_and_accepted_by_the_examination_of_tdx():
    kernel = TsmKernel(td_quote, provider="tdx_guest", auxiliary=False)
    collected = ConfigfsTsm(machine_with(kernel), "tdx").collect(DATA, challenge=CHALLENGE)
    examined = examine_tdx(collected.report, TDX.collateral(), roots=TDX.roots, at=NOON, seen=SEEN_NOTHING)
    assert (examined.require().report.report_data, collected.endorsements) == (DATA, ())
    assert kernel.entries == {}


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_anything_but_64_bytes_is_a_callers_mistake_and_reaches_no_kernel(size):
    kernel = TsmKernel(snp_report)
    with pytest.raises(ValueError, match=f"report data of {size} bytes; this platform's evidence carries 64"):
        ConfigfsTsm(machine_with(kernel), "snp").collect(bytes(size), challenge=CHALLENGE)
    assert kernel.removed == 0


def test_the_level_below_an_svsm_is_asked_for_where_none_is_named():
    kernel = TsmKernel(snp_report, floor=2)
    assert snp(kernel).report[48] == 2
    assert snp(kernel, privilege_level=3).report[48] == 3
    assert snp(TsmKernel(snp_report, floor=0)).report[48] == 0


def test_a_level_that_the_guest_may_not_name_is_refused_with_what_it_may():
    with pytest.raises(TeeFault, match=r"Invalid argument.*privilege level that this guest runs at"):
        snp(TsmKernel(snp_report, floor=2), privilege_level=1)


def test_another_writer_is_noticed_by_the_generation_and_asked_around():
    waits: list[float] = []
    kernel = TsmKernel(snp_report)
    calls: list[int] = []

    def once(kernel):
        calls.append(1)
        if len(calls) == 1:
            other_writer(kernel)

    kernel.meanwhile["read", "auxblob"] = once
    assert snp(kernel, waits).report[80:144] == DATA
    assert (len(waits), kernel.removed) == (1, 2)


def test_another_writer_who_does_not_rest_ends_it_after_five_tries():
    waits: list[float] = []
    kernel = TsmKernel(snp_report, meanwhile={("open", "auxblob"): other_writer})
    with pytest.raises(TeeUnavailable, match="generation went from 0 to 2 with 1 writes of ours"):
        snp(kernel, waits)
    assert (waits, kernel.removed, kernel.entries) == ([0.1, 0.2, 0.4, 0.8], 5, {})


def test_a_write_that_the_kernel_lost_silently_never_yields_a_report():
    kernel = TsmKernel(snp_report, faults={("commit", "inblob"): [errno.EBUSY]})
    with pytest.raises(TeeFault, match="64 bytes of report data"):
        snp(kernel)
    assert kernel.entries == {}


def test_a_lost_write_over_somebody_elses_report_is_seen_in_the_generation():
    def foreign(kernel):
        for entry in kernel.entries.values():
            entry.inblob = b"x" * 64

    kernel = TsmKernel(snp_report, faults={("commit", "inblob"): [errno.EBUSY] * 5})
    kernel.meanwhile["read", "outblob"] = foreign
    with pytest.raises(TeeUnavailable, match="generation went from 0 to 0 with 1 writes"):
        snp(kernel)


@pytest.mark.parametrize("attribute", ["provider", "inblob", "outblob", "generation"])
def test_an_entry_that_disappears_is_asked_for_anew(attribute):
    kernel = TsmKernel(snp_report)
    gone: list[None] = []

    def remove(kernel):
        if not gone:
            kernel.entries.clear()
            gone.append(None)

    kernel.meanwhile["open", attribute] = remove
    assert snp(kernel).report[80:144] == DATA
    assert kernel.entries == {}


@pytest.mark.parametrize("call", ["open", "read", "write"])
def test_signals_interrupt_nothing(call):
    attribute = "inblob" if call == "write" else "outblob"
    kernel = TsmKernel(snp_report, faults={(call, attribute): [errno.EINTR] * 3})
    assert snp(kernel).report[80:144] == DATA


def test_a_quote_of_another_asker_under_way_is_waited_for():
    waits: list[float] = []
    kernel = TsmKernel(snp_report, faults={("read", "outblob"): [errno.EBUSY, errno.EBUSY]})
    assert snp(kernel, waits).report[80:144] == DATA
    assert waits == [0.1, 0.2]


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (errno.EINVAL, TeeFault, "takes 64 bytes"),
        (errno.ENOTTY, TeeFault, "restart the guest"),
        (errno.ETIMEDOUT, TeeUnavailable, "quote generation service"),
        (errno.EIO, TeeUnavailable, "dmesg"),
        (errno.ENXIO, NoTee, "no confidential guest"),
        (errno.EACCES, TeeDenied, "Only root may ask"),
        (errno.ENOMEM, TeeUnavailable, "ENOMEM"),
    ],
    ids=lambda value: errno.errorcode.get(value) if isinstance(value, int) else None,
)
def test_what_the_kernel_says_is_said_with_what_to_do_and_the_entry_is_removed(code, error, advice):
    kernel = TsmKernel(snp_report, faults={("read", "outblob"): [code]})
    with pytest.raises(error, match=advice):
        snp(kernel)
    assert (kernel.entries, kernel.opened) == ({}, {})


def test_the_entry_is_removed_when_the_asker_is_cancelled():
    def cancel(_):
        raise KeyboardInterrupt

    kernel = TsmKernel(snp_report, meanwhile={("read", "outblob"): cancel})
    with pytest.raises(KeyboardInterrupt):
        snp(kernel)
    assert (kernel.entries, kernel.opened) == ({}, {})


@pytest.mark.parametrize(
    ("made", "named"), [(b"x" * 65537, "more than 65536 bytes"), (b"x" * 1184, "no SEV-SNP report")]
)
def test_what_is_no_report_is_refused(made, named):
    with pytest.raises(TeeFault, match=named):
        snp(TsmKernel(lambda *_: (made, b"")))


def test_a_report_that_answers_somebody_else_is_refused():
    with pytest.raises(TeeFault, match="other report data than was asked for"):
        snp(TsmKernel(lambda _, level: snp_report(bytes(64), level)))
    kernel = TsmKernel(lambda *_: td_quote(bytes(64), 0), provider="tdx_guest")
    with pytest.raises(TeeFault, match="other report data than was asked for"):
        ConfigfsTsm(machine_with(kernel), "tdx").collect(DATA, challenge=CHALLENGE)


def test_a_tdreport_in_place_of_a_quote_is_named_as_one():
    kernel = TsmKernel(lambda *_: (b"\x81\0".ljust(1024, b"\0"), b""), provider="tdx_guest")
    with pytest.raises(TeeFault, match="a TDREPORT, which only the same machine can check"):
        ConfigfsTsm(machine_with(kernel), "tdx").collect(DATA, challenge=CHALLENGE)


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        (b"", None),
        (bytes(16384), None),
        (TABLE + bytes(16384 - len(TABLE) % 4096), None),
        (TABLE[:400], "in a buffer of 400"),
        (b"\1" * 24 * 17, "more than 16 entries"),
        (b"\1" * 48, "no entry of zeros"),
    ],
    ids=["empty", "zeros", "padded", "cut", "long", "endless"],
)
def test_the_hosts_table_may_be_empty_padded_or_nonsense_and_the_report_is_there_all_the_same(table, remark):
    collected = snp(TsmKernel(lambda data, level: (snp_report(data, level)[0], table)))
    assert collected.report[80:144] == DATA
    assert len(collected.endorsements) == (4 if table.startswith(TABLE) else 0)
    assert [remark in said for said in collected.remarks] == ([True] if remark else [])


def test_a_provider_that_changes_under_the_collector_is_refused():
    with pytest.raises(TeeFault, match="became tdx_guest"):
        snp(TsmKernel(td_quote, provider="tdx_guest"))


@pytest.mark.parametrize(
    ("changes", "found"), [({}, "sev_guest"), ({"provider": None}, None), ({"loaded": False}, None)]
)
def test_the_provider_is_named_or_there_is_none(changes, found):
    kernel = TsmKernel(snp_report, **changes)
    assert tsm_provider(machine_with(kernel)) == found
    assert kernel.entries == {}


def test_a_user_without_rights_is_told_so_when_the_provider_is_asked_for():
    with pytest.raises(TeeDenied, match="Only root"):
        tsm_provider(machine_with(TsmKernel(snp_report, faults={("mkdir", ""): [errno.EACCES]})))


def test_without_configfs_or_a_tee_behind_it_there_is_none():
    for changes in ({"loaded": False}, {"provider": None}):
        with pytest.raises(NoTee, match="no confidential guest"):
            snp(TsmKernel(snp_report, **changes))


def test_of_both_kinds_of_keys_that_a_host_tells_of_the_one_that_signed_is_taken():
    given = dict(zip((VCEK, VLEK, ASK, ARK), (b"vcek", b"vlek", b"ask", b"ark"), strict=True))
    signed = replace(CHIP.report(), report_data=DATA, signing_key=SigningKey.VLEK, chip_id=bytes(64))
    for report, first in ((snp_report(DATA)[0], b"vcek"), (CHIP.sign(signed), b"vlek")):
        collected = snp(TsmKernel(lambda *_, report=report: (report, certificate_table(given))))
        assert [one.data for one in collected.endorsements] == [first, b"ask", b"ark"]
