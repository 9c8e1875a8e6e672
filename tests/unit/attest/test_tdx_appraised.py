"""What an authentic TDX or SGX quote must meet: each row changes one thing, and fails one check."""

import hashlib
from dataclasses import replace

import msgspec
import pytest

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.tdx.appraised import (
    SGX_APPRAISAL_STEPS,
    TDX_APPRAISAL_STEPS,
    appraise_sgx,
    appraise_tdx,
)
from cloister.attest.tdx.authentic import examine_sgx, examine_tdx
from cloister.attest.tdx.quote import TdxRejected
from cloister.attest.tdx.tcb import converge
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.td_report import TdAttributes
from cloister.formats.tdx_policy import IntelTcbPolicy, SgxPolicy, TdImage
from cloister.formats.workload_event import event_digest, register_value
from cloister.testing.tdx_hardware import DAY, ENCLAVE, QE, TD, TdxHardware, enclave_level, image_of, level, moment

NOW = 1_800_000_000
HARDWARE = TdxHardware(at=NOW)
TCB = HARDWARE.tcb_policy()
IMAGE = image_of(TD)
POLICY = msgspec.structs.replace(
    HARDWARE.policy(), protection_keys="allowed", xfam_allowed=(0x6DBE7).to_bytes(8, "little")
)
SGX_POLICY = SgxPolicy(tcb=TCB, enclaves=(ENCLAVE.mr_enclave,), unsafe=())
SGX_LEVELS = [level((5,) * 16, 13, "UpToDate")]
NEWER_TD = replace(TD, tee_tcb_svn=bytes([6, 1, 4]) + bytes(13))


def authentic_tdx(td=TD, *, hardware=HARDWARE, qe=QE, **info):
    collateral = hardware.collateral(tcb_info=hardware.tcb_info(**info))
    quote = hardware.quote(td, qe=qe, version=4 if td.mr_service_td is None else 5)
    return examine_tdx(quote, collateral, roots=hardware.roots, at=NOW, seen=SEEN_NOTHING).require()


def appraise(td=TD, *, policy=POLICY, report_data=TD.report_data, at=NOW, workloads=(), **made):
    authentic = authentic_tdx(td, **made)
    return appraise_tdx(authentic, policy, report_data=report_data, at=at, workloads=workloads)


def appraise_enclave(report=ENCLAVE, *, policy=SGX_POLICY, report_data=ENCLAVE.report_data):
    info = HARDWARE.tcb_info(id="SGX", tcbLevels=SGX_LEVELS)
    del info["tdxModule"], info["tdxModuleIdentities"]
    collateral = HARDWARE.collateral(tcb_info=info, qe_identity=HARDWARE.qe_identity(id="QE"))
    quote = HARDWARE.quote(report, version=3)
    authentic = examine_sgx(quote, collateral, roots=HARDWARE.roots, at=NOW, seen=SEEN_NOTHING).require()
    return appraise_sgx(authentic, policy, report_data=report_data, at=NOW)


def broken(check, given, *, says, name):
    return pytest.param(check, given, says, id=name.replace(" ", "_"), marks=pytest.mark.breaks(check))


def td(**changes):
    return {"td": replace(TD, **changes)}


def attributes(*bits):
    value = TdAttributes.SEPT_VE_DISABLE
    for bit in bits:
        value |= bit
    return td(td_attributes=value)


def policy(**changes):
    return {"policy": msgspec.structs.replace(POLICY, **changes)}


def tcb(**changes):
    return policy(tcb=msgspec.structs.replace(TCB, **changes))


def dated(date):
    return [{**level((5,) * 16, 13, "UpToDate", tdx=(5, 0, 5)), "tcbDate": moment(date)}]


ROWS = [
    broken(
        "tdx.tcb-level",
        {"hardware": replace(HARDWARE, components=(3,) * 16)},
        says="update BIOS, microcode and TDX module",
        name="a platform below all levels",
    ),
    broken(
        "tdx.tcb-level",
        {"hardware": replace(HARDWARE, components=(5,) * 15 + (0,))},
        says="the lowest level is 4.4",
        name="one component below all levels",
    ),
    broken("tdx.tcb-level", {"hardware": replace(HARDWARE, pce_svn=12)}, says="PCESVN 12", name="a low PCESVN"),
    broken(
        "tdx.tcb-level",
        td(tee_tcb_svn=bytes([6, 1, 3]) + bytes(13)),
        says="TEE TCB 6.1.3",
        name="TDX microcode below all levels",
    ),
    broken(
        "tdx.tcb-level",
        td(tee_tcb_svn=bytes([3, 1, 5]) + bytes(13)),
        says="the TDX module TDX_01 has ISVSVN 3",
        name="a TDX module below all levels",
    ),
    broken(
        "tdx.tcb-level",
        {"qe": replace(QE, isv_svn=3)},
        says="the quoting enclave has ISVSVN 3",
        name="a quoting enclave below all levels",
    ),
    broken(
        "tdx.tcb-status",
        {
            "td": NEWER_TD,
            "policy": msgspec.structs.replace(POLICY, tcb=msgspec.structs.replace(TCB, advisories=("INTEL-SA-00001",))),
        },
        says="TCB status OutOfDate is not among UpToDate: update BIOS",
        name="a platform out of date",
    ),
    broken(
        "tdx.tcb-status",
        td(tee_tcb_svn=bytes([5, 1, 5]) + bytes(13)) | tcb(advisories=("INTEL-SA-00002",)),
        says="TCB status OutOfDate",
        name="a TDX module out of date on a platform that is not",
    ),
    broken(
        "tdx.tcb-status",
        {"qe": replace(QE, isv_svn=5)} | tcb(advisories=("INTEL-SA-00003",)),
        says="TCB status OutOfDate",
        name="a quoting enclave out of date on a platform that is not",
    ),
    broken("tdx.tcb-status", tcb(statuses=()), says="not among none", name="no status taken"),
    broken("tdx.tcb-age", {"tcbLevels": dated(NOW - 731 * DAY)}, says="update the platform", name="an old level"),
    broken(
        "tdx.advisories",
        {"td": NEWER_TD} | tcb(statuses=(TcbStatus.OUT_OF_DATE,)),
        says="INTEL-SA-00001 not accepted",
        name="an advisory that nobody accepted",
    ),
    broken("tdx.evaluation", tcb(minimum_evaluation_data_number=19), says="18 is below 19", name="old documents"),
    broken("tdx.ppid", tcb(ppids=(bytes(16),)), says="PPID 0d0d", name="another platform"),
    broken("tdx.ppid", tcb(ppids=()), says="PPID 0d0d", name="an empty list of platforms"),
    broken("tdx.fmspc-list", tcb(fmspcs=()), says="FMSPC 90c06f000000", name="another kind of platform"),
    broken("tdx.debug", attributes(TdAttributes.DEBUG), says="the host reads it", name="a TD in debug mode"),
    broken(
        "tdx.sept-ve",
        td(td_attributes=TdAttributes(0)),
        says="lacks the attribute SEPT_VE_DISABLE",
        name="ve by the host",
    ),
    broken("tdx.migratable", attributes(TdAttributes.MIGRATABLE), says="MIGRATABLE", name="a TD that can be moved"),
    broken("tdx.attributes", attributes(TdAttributes.KL), says="KL is refused", name="a key locker that is refused"),
    broken("tdx.attributes", attributes(TdAttributes.PERFMON), says="PERFMON is refused", name="monitoring refused"),
    broken("tdx.attributes", policy(protection_keys="required"), says="PKS is required", name="protection keys wanted"),
    broken("tdx.debug", attributes(TdAttributes.PERF_PROF), says="bits 0x20 of the group TUD", name="a profiled TD"),
    broken("tdx.attributes", attributes(1 << 40), says="bits 0x10000000000", name="a bit without a name"),
    broken("tdx.xfam", td(xfam=0x602E4), says="lacks 0x3", name="a feature missing"),
    broken("tdx.xfam", td(xfam=0x80602E7), says="has 0x8000000 besides", name="a feature that nobody allowed"),
    broken("tdx.service-td", td(mr_service_td=b"\1" * 48), says="MRSERVICETD 0101", name="a migration TD"),
    broken(
        "tdx.service-td",
        td(tee_tcb_svn_2=None, mr_service_td=None),
        says="does not say which service TD",
        name="a report that does not tell",
    ),
    broken("tdx.image", td(mr_td=b"\1" * 48), says="MRTD 0101010101010101…$", name="other firmware"),
    *(
        broken(
            "tdx.image",
            td(rtmrs=(*TD.rtmrs[:at], b"\1" * 48, *TD.rtmrs[at + 1 :])),
            says=f"RTMR{at} 0101010101010101…$",
            name=f"another RTMR{at}",
        )
        for at in range(4)
    ),
    broken("tdx.image", td(mr_config_id=b"\1" * 48), says="MRCONFIGID 0101", name="another configuration"),
    broken("tdx.image", td(mr_owner=b"\1" * 48), says="MROWNER 0101", name="another owner"),
    broken(
        "tdx.image", td(mr_owner_config=b"\1" * 48), says="MROWNERCONFIG 0101", name="another owner's configuration"
    ),
    broken("tdx.image", policy(images=()), says="names no image", name="an empty list of images"),
    broken("tdx.report-data", {"report_data": bytes(64)}, says="all 64 bytes", name="other report data"),
]
SGX_ROWS = [
    broken(
        "sgx.debug",
        {"report": replace(ENCLAVE, attributes=b"\7" + ENCLAVE.attributes[1:])},
        says="attribute DEBUG",
        name="an enclave in debug mode",
    ),
    broken(
        "sgx.enclave", {"report": replace(ENCLAVE, mr_enclave=bytes(32))}, says="MRENCLAVE 0000", name="another one"
    ),
    broken("sgx.report-data", {"report_data": ENCLAVE.report_data[:32]}, says="all 64", name="a prefix of report data"),
]


@pytest.mark.parametrize(("check", "given", "says"), ROWS)
def test_each_unmet_demand_fails_its_own_check_alone(check, given, says):
    examination = appraise(**given)
    assert examination.failed == [check]
    with pytest.raises(TdxRejected, match=says):
        examination.require()


@pytest.mark.parametrize(("check", "given", "says"), SGX_ROWS)
def test_each_unmet_demand_on_an_enclave_fails_its_own_check_alone(check, given, says):
    examination = appraise_enclave(**given)
    assert examination.failed == [check]
    with pytest.raises(TdxRejected, match=says):
        examination.require()


def test_a_td_that_meets_its_policy_is_appraised():
    examination = appraise()
    assert examination.passed == list(TDX_APPRAISAL_STEPS)
    appraised = examination.require()
    assert (appraised.report, appraised.image, appraised.ppid) == (TD, IMAGE, HARDWARE.ppid)
    assert appraised.tcb.status is TcbStatus.UP_TO_DATE


def test_an_enclave_that_meets_its_policy_is_appraised():
    examination = appraise_enclave()
    assert examination.passed == list(SGX_APPRAISAL_STEPS)
    assert isinstance(examination.require().report, EnclaveReport)


def test_out_of_date_is_not_up_to_date_however_new_the_module():
    """`OutOfDate` accepted: levels are tried from the highest down, and the first that is reached decides."""
    assert appraise(NEWER_TD).failed == ["tdx.tcb-status", "tdx.advisories"]
    reordered = list(reversed(HARDWARE.tcb_info()["tcbLevels"]))
    assert appraise(NEWER_TD, tcbLevels=reordered).failed == ["tdx.tcb-status", "tdx.advisories"]
    assert not appraise(tcbLevels=reordered).failed


def test_rtmr3_is_never_held_alone():
    """An image has all four registers: a policy of fewer cannot be written."""
    for few in ((), TD.rtmrs[3:], TD.rtmrs[:2]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(msgspec.to_builtins(IMAGE) | {"rtmrs": few}, TdImage)
    assert appraise(policy=msgspec.structs.replace(POLICY, images=(msgspec.structs.replace(IMAGE, rtmr3=()),))).failed


def test_rtmr3_is_one_extension_by_a_workload_that_is_named():
    """Where the image says so: what was extended twice, or by something else, is no workload."""
    image = msgspec.structs.replace(IMAGE, rtmr3="workload")
    policy = msgspec.structs.replace(POLICY, images=(image,))
    one, other = b"\1" * 48, b"\2" * 48
    loaded = replace(TD, rtmrs=(*TD.rtmrs[:3], register_value(one, "sha384")))
    twice = hashlib.sha384(register_value(one, "sha384") + event_digest(other, "sha384")).digest()
    assert not appraise(loaded, policy=policy, workloads=(other, one)).failed
    assert appraise(loaded, policy=policy, workloads=(other,)).failed == ["tdx.image"]
    assert appraise(loaded, policy=policy, workloads=()).failed == ["tdx.image"]
    assert appraise(replace(TD, rtmrs=(*TD.rtmrs[:3], twice)), policy=policy, workloads=(other, one)).failed


def test_parts_of_two_images_make_no_third():
    other = msgspec.structs.replace(IMAGE, mr_td=b"\1" * 48, rtmrs=(b"\2" * 48,) * 3)
    mixed = replace(TD, mr_td=other.mr_td)
    both = msgspec.structs.replace(POLICY, images=(IMAGE, other))
    assert appraise(mixed, policy=both).failed == ["tdx.image"]
    assert not appraise(policy=both).failed


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_is_never_compared_by_a_prefix(size):
    assert appraise(report_data=(TD.report_data + b"\0")[:size]).failed == ["tdx.report-data"]


def test_a_service_td_is_taken_by_name_only():
    bound = replace(TD, mr_service_td=b"\1" * 48)
    named = msgspec.structs.replace(POLICY, service_tds=(b"\1" * 48,))
    assert not appraise(bound, policy=named).failed


def test_the_silence_of_an_old_report_is_no_word_of_a_migratable_td():
    accepting = msgspec.structs.replace(POLICY, unreported_service_td="accept", unsafe=("UnsafeAllowMigratableTd",))
    old = replace(TD, tee_tcb_svn_2=None, mr_service_td=None)
    assert not appraise(old, policy=accepting).failed
    moved = replace(old, td_attributes=TdAttributes.SEPT_VE_DISABLE | TdAttributes.MIGRATABLE)
    assert appraise(moved, policy=accepting).failed == ["tdx.service-td"]


def test_what_is_unsafe_is_taken_by_its_name_alone():
    attributes = TdAttributes.DEBUG | TdAttributes.MIGRATABLE
    unsafe = ("UnsafeAllowTdDebug", "UnsafeAllowSeptVe", "UnsafeAllowMigratableTd")
    loose = replace(TD, td_attributes=attributes)
    assert appraise(loose).failed == ["tdx.debug", "tdx.sept-ve", "tdx.migratable"]
    assert not appraise(loose, policy=msgspec.structs.replace(POLICY, unsafe=unsafe)).failed


def test_other_attributes_are_taken_by_their_bits_and_never_those_under_debug():
    lass = replace(TD, td_attributes=TdAttributes.SEPT_VE_DISABLE | TdAttributes.LASS)
    taking = msgspec.structs.replace(POLICY, other_attributes=b"\xff" * 8)
    assert appraise(lass).failed == ["tdx.attributes"]
    assert not appraise(lass, policy=taking).failed
    assert appraise(replace(TD, td_attributes=TD.td_attributes | 0x40), policy=taking).failed == ["tdx.debug"]


def test_before_tdx_1_5_the_modules_versions_are_the_platforms():
    old = replace(TD, tee_tcb_svn=bytes([4, 0, 5]) + bytes(13))
    assert appraise(old).failed == ["tdx.tcb-level"]
    assert not appraise(replace(TD, tee_tcb_svn=bytes([5, 0, 5]) + bytes(13))).failed


STATUSES = [TcbStatus(one) for one in TcbStatus]


@pytest.mark.parametrize("first", STATUSES)
@pytest.mark.parametrize("second", STATUSES)
def test_two_statuses_are_never_better_together_than_alone(first, second):
    both = converge([first, second])
    assert both is converge([second, first])
    for alone in (first, second):
        assert converge([both, alone]) is both
        if alone is TcbStatus.REVOKED:
            assert both is TcbStatus.REVOKED


@pytest.mark.parametrize(
    ("platform", "module", "both"),
    [
        ("UpToDate", "OutOfDate", "OutOfDate"),
        ("SWHardeningNeeded", "OutOfDate", "OutOfDate"),
        ("ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("OutOfDateConfigurationNeeded", "UpToDate", "OutOfDateConfigurationNeeded"),
        ("OutOfDate", "Revoked", "Revoked"),
    ],
)
def test_statuses_converge_as_intel_says(platform, module, both):
    assert converge([TcbStatus(platform), TcbStatus(module)]) == both


def test_no_policy_takes_what_intel_revoked():
    written = msgspec.json.encode(msgspec.structs.replace(TCB, statuses=tuple(set(TcbStatus) - {TcbStatus.REVOKED})))
    assert len(msgspec.json.decode(written, type=IntelTcbPolicy).statuses) == len(TcbStatus) - 1
    with pytest.raises(msgspec.ValidationError, match="takes Revoked"):
        msgspec.json.decode(written.replace(b'"UpToDate"', b'"Revoked"'), type=IntelTcbPolicy)
    with pytest.raises(ValueError, match="takes Revoked"):
        msgspec.structs.replace(TCB, statuses=(TcbStatus.REVOKED,))


def test_a_revoked_module_revokes_its_platform():
    info = HARDWARE.tcb_info()
    info["tdxModuleIdentities"][0]["tcbLevels"] = [enclave_level(6, "Revoked")]
    assert appraise(tdxModuleIdentities=info["tdxModuleIdentities"]).failed == ["tdx.tcb-status"]
