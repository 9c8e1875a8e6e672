"""An authentic SEV-SNP report meets the policy, or fails the one check whose field is wrong."""

from dataclasses import replace

import msgspec
import pytest

from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS, appraise_snp
from cloister.attest.snp.authentic import SnpRefused, examine_snp
from cloister.formats import canonical
from cloister.formats.snp_policy import SnpPolicy
from cloister.formats.snp_report import HOST_VMPL, PLATFORM_BITS, POLICY_BITS, GuestPolicy, PlatformInfo, SigningKey
from cloister.formats.snp_tcb import Product
from cloister.testing.snp_hardware import CSP, SnpHardware

NOW = 1_800_000_000
MILAN = SnpHardware()
TURIN = SnpHardware(Product.TURIN)
REPORT = MILAN.report()
POLICY = MILAN.policy()
VLEK = {"signing_key": SigningKey.VLEK, "chip_id": bytes(64)}
LEASED = {"signing_keys": ("VCEK", "VLEK"), "csp_ids": (CSP,), "chip_ids": "any"}


def authentic(report=REPORT, hardware=MILAN):
    given = hardware.endorsements(report.signing_key)
    return examine_snp(
        hardware.sign(report), given, roots=hardware.roots, at=NOW, unsafe=(), seen=SEEN_NOTHING
    ).require()


GOOD = authentic()


def appraised(wanted=POLICY, /, *, report_data=REPORT.report_data, hardware=MILAN, **changes):
    found = authentic(replace(hardware.report(), **changes), hardware) if changes or hardware is not MILAN else GOOD
    return appraise_snp(found, wanted, report_data=report_data)


def policy(**changes):
    return msgspec.structs.replace(POLICY, **changes)


def guest(*names):
    return {"policy": GuestPolicy(REPORT.policy.bits | sum(1 << POLICY_BITS[name] for name in names))}


def levels(**changes):
    return {name: replace(MILAN.tcb, **changes).encode(Product.MILAN) for name in ("committed_tcb", "launch_tcb")}


def detail(examination, check):
    return next(step.detail for step in examination.steps if step.id == check)


def test_a_good_report_meets_the_tightest_policy():
    examination = appraised()
    assert examination.passed == list(SNP_APPRAISAL_STEPS)
    found = examination.require()
    assert (found.product, found.measurement, found.tcb) == (Product.MILAN, REPORT.measurement, MILAN.tcb)
    assert (found.report_data, found.host_data, found.chip_id) == (
        REPORT.report_data,
        REPORT.host_data,
        REPORT.chip_id,
    )


def test_a_policy_survives_its_encoding_and_leaves_nothing_out():
    assert canonical.decode(canonical.encode(POLICY), SnpPolicy, limit=4096) == POLICY
    whole = msgspec.to_builtins(POLICY, builtin_types=(bytes,))
    for name in whole.keys() - {"version"}:
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({**whole, name: None}, SnpPolicy, builtin_types=(bytes,))
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({key: one for key, one in whole.items() if key != name}, SnpPolicy, builtin_types=(bytes,))


WRONG = [
    ("snp.debug", guest("DEBUG")),
    ("snp.migration-agent", guest("MIGRATE_MA")),
    ("snp.smt", {"policy": GuestPolicy(1 << 17 | 1 << 8)}),
    ("snp.single-socket", guest("SINGLE_SOCKET")),
    ("snp.guest-policy", guest("CXL_ALLOW")),
    ("snp.guest-policy", guest("MEM_AES_256_XTS")),
    ("snp.guest-policy", guest("RAPL_DIS")),
    ("snp.guest-policy", guest("CIPHERTEXT_HIDING_DRAM")),
    ("snp.guest-policy", guest("PAGE_SWAP_DISABLE")),
    ("snp.abi", {"policy": GuestPolicy(1 << 17 | 1 << 16 | 0xFF)}),
    ("snp.vmpl", {"vmpl": 1}),
    ("snp.vmpl", {"vmpl": HOST_VMPL}),
    ("snp.committed-tcb", {"committed_tcb": levels(microcode=218)["committed_tcb"]}),
    ("snp.launch-tcb", {"launch_tcb": levels(snp=23, microcode=255)["launch_tcb"]}),
    ("snp.firmware", {"committed_firmware": (1, 55, 38)}),
    ("snp.firmware", {"committed_firmware": (1, 54, 200)}),
    ("snp.mitigations", {"launch_mit_vector": 1}),
    ("snp.mitigations", {"current_mit_vector": 4}),
    ("snp.measurement", {"measurement": b"m" * 47 + b"n"}),
    ("snp.host-data", {"host_data": b"h" * 31 + b"i"}),
    ("snp.id-key", {"id_key_digest": bytes(48)}),
    ("snp.author-key", {"author_key_digest": bytes(48)}),
    ("snp.guest-svn", {"guest_svn": 2}),
    *(
        ("snp.platform-info", {"platform_info": PlatformInfo(REPORT.platform_info.bits ^ 1 << bit)})
        for bit in PLATFORM_BITS.values()
    ),
]


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        pytest.param(check, changes, marks=pytest.mark.breaks(check), id=f"{check}-{'_'.join(changes)}")
        for check, changes in WRONG
    ],
)
def test_each_wrong_field_fails_its_own_check_alone(check, changes):
    examination = appraised(**changes)
    assert examination.failed == [check]
    with pytest.raises(SnpRefused, match=check):
        examination.require()


@pytest.mark.breaks("snp.tcb")
@pytest.mark.parametrize("component", ["bootloader", "tee", "snp", "microcode"])
def test_the_reported_tcb_is_held_component_by_component(component):
    minimum = msgspec.structs.replace(
        POLICY.minimum_tcbs[0], **{component: getattr(POLICY.minimum_tcbs[0], component) + 1}
    )
    high = dict.fromkeys(("bootloader", "tee", "snp", "microcode"), 255)
    examination = appraised(policy(minimum_tcbs=(minimum,)), **levels(**high))
    assert examination.failed == ["snp.tcb"]
    assert "is below" in detail(examination, "snp.tcb")
    assert "update the SEV firmware" in detail(examination, "snp.tcb")


@pytest.mark.breaks("snp.tcb")
def test_an_fmc_is_demanded_of_turin_alone():
    minimum = MILAN.policy().minimum_tcbs[0]
    with pytest.raises(ValueError, match="Milan has no FMC: write 0"):
        msgspec.structs.replace(minimum, fmc=1)
    with pytest.raises(msgspec.ValidationError, match="Milan has no FMC"):
        msgspec.convert({**msgspec.structs.asdict(minimum), "fmc": 1}, type(minimum))


def test_turins_fmc_is_held_as_well():
    minimum = msgspec.structs.replace(TURIN.policy().minimum_tcbs[0], fmc=2)
    tighter = msgspec.structs.replace(TURIN.policy(), minimum_tcbs=(minimum,))
    high = {name: replace(TURIN.tcb, fmc=3).encode(Product.TURIN) for name in ("committed_tcb", "launch_tcb")}
    examination = appraised(tighter, hardware=TURIN, **high)
    assert examination.failed == ["snp.tcb"]
    assert "fmc 1 is below 2" in detail(examination, "snp.tcb")
    assert appraised(TURIN.policy(), hardware=TURIN).failed == []


def test_all_components_that_are_too_low_are_told():
    minimum = msgspec.structs.replace(POLICY.minimum_tcbs[0], microcode=220, snp=25)
    examination = appraised(policy(minimum_tcbs=(minimum,)))
    assert examination.failed == ["snp.tcb", "snp.committed-tcb", "snp.launch-tcb"]
    assert detail(examination, "snp.tcb") == (
        "REPORTED TCB: snp 24 is below 25; microcode 219 is below 220: update the SEV firmware"
    )


def test_of_several_minima_of_one_product_all_hold():
    lower = msgspec.structs.replace(POLICY.minimum_tcbs[0], microcode=1)
    higher = msgspec.structs.replace(POLICY.minimum_tcbs[0], snp=25)
    for minima in ((lower, higher), (higher, lower)):
        assert "snp.tcb" in appraised(policy(minimum_tcbs=minima)).failed
    assert appraised(policy(minimum_tcbs=(*POLICY.minimum_tcbs, lower, *TURIN.policy().minimum_tcbs))).failed == []


def test_a_product_without_a_minimum_is_not_taken():
    for minima in ((), TURIN.policy().minimum_tcbs):
        examination = appraised(policy(minimum_tcbs=minima))
        assert examination.failed == ["snp.tcb", "snp.committed-tcb", "snp.launch-tcb"]
        assert detail(examination, "snp.tcb") == "the policy names no TCB of Milan"


@pytest.mark.breaks("snp.report-data")
def test_report_data_is_compared_whole_and_not_by_its_prefix():
    for wanted in (
        REPORT.report_data[:32],
        REPORT.report_data[:32].ljust(64, b"\0"),
        REPORT.report_data[:63] + b"!",
        b"",
    ):
        assert appraised(report_data=wanted).failed == ["snp.report-data"]


@pytest.mark.breaks("snp.report-data")
def test_host_data_is_not_taken_for_the_guests():
    bound = b"what the guest has to bind, 32 b"
    examination = appraised(policy(host_data=(bound,)), report_data=bound.ljust(64, b"\0"), host_data=bound)
    assert examination.failed == ["snp.report-data"]


@pytest.mark.breaks("snp.signer")
def test_a_vlek_where_a_vcek_is_demanded_is_refused():
    assert appraised(policy(**{**LEASED, "signing_keys": ("VCEK",)}), **VLEK).failed == ["snp.signer"]
    assert appraised(policy(**LEASED), **VLEK).failed == []


@pytest.mark.breaks("snp.signer")
def test_a_vcek_where_a_vlek_is_demanded_is_refused():
    assert appraised(policy(signing_keys=("VLEK",))).failed == ["snp.signer"]


@pytest.mark.breaks("snp.csp-id")
def test_a_vlek_of_a_cloud_that_the_policy_does_not_name_is_refused():
    for named in ((), ("CN=another cloud",)):
        assert appraised(policy(**{**LEASED, "csp_ids": named}), **VLEK).failed == ["snp.csp-id"]
    assert appraised(policy(**{**LEASED, "csp_ids": "any"}), **VLEK).failed == []


@pytest.mark.breaks("snp.chip")
def test_a_chip_that_the_policy_does_not_name_is_refused():
    for named in ((), (SnpHardware(chip="second").chip_id,), (MILAN.chip_id[::-1],)):
        assert appraised(policy(chip_ids=named)).failed == ["snp.chip"]


@pytest.mark.breaks("snp.chip")
def test_a_hidden_chip_is_in_no_list():
    assert appraised(policy(**{**LEASED, "chip_ids": (bytes(64),)}), **VLEK).failed == ["snp.chip"]


@pytest.mark.parametrize("field", ["chip_ids", "host_data", "id_key_digests", "author_key_digests"])
def test_an_empty_list_allows_nothing_and_any_is_spelled_out(field):
    assert len(appraised(policy(**{field: ()})).failed) == 1
    assert appraised(policy(**{field: "any"})).failed == []


def test_no_measurement_is_taken_without_being_named():
    assert appraised(policy(measurements=())).failed == ["snp.measurement"]


def test_a_report_before_version_5_has_no_mitigations_to_show():
    examination = appraised(version=3, launch_mit_vector=None, current_mit_vector=None)
    assert examination.failed == ["snp.mitigations"]


def test_debug_and_a_migration_agent_are_taken_by_name_only():
    report = guest("DEBUG", "MIGRATE_MA")
    assert appraised(policy(unsafe=("UnsafeAllowSnpDebug",)), **report).failed == ["snp.migration-agent"]
    assert appraised(policy(unsafe=("UnsafeAllowSnpMigrationAgent",)), **report).failed == ["snp.debug"]
    assert appraised(policy(unsafe=("UnsafeAllowSnpMigrationAgent", "UnsafeAllowSnpDebug")), **report).failed == []


@pytest.mark.parametrize("demand", ["required", "forbidden", "either"])
def test_smt_is_required_forbidden_or_either(demand):
    wanted = policy(guest=msgspec.structs.replace(POLICY.guest, smt=demand))
    alone = GuestPolicy(1 << 17 | 1 << 8)
    assert appraised(wanted).failed == (["snp.smt"] if demand == "forbidden" else [])
    assert appraised(wanted, policy=alone).failed == (["snp.smt"] if demand == "required" else [])


def test_the_alias_check_is_told_by_name():
    examination = appraised(platform_info=PlatformInfo(0b101))
    assert detail(examination, "snp.platform-info") == "PLATFORM_INFO: ALIAS_CHECK_COMPLETE is not set, and required"


def test_everything_that_failed_is_told_at_once():
    examination = appraised(vmpl=2, guest_svn=0, **guest("DEBUG"))
    assert examination.failed == ["snp.debug", "snp.vmpl", "snp.guest-svn"]
