"""`cloister evidence verify` over made-up hardware of every platform, as a person runs it."""

import base64
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import quote_plus

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.doubles.command_line import environment
from tests.doubles.made_evidence import auxblob, tsm, tsm_json
from tests.doubles.made_gpus import DEVICE, VENDOR
from tests.doubles.made_gpus import POLICY as GPU_POLICY
from tests.unit.attest.test_azure_vm import BOUND, POLICY, RUNTIME, TDX_POLICY

from cloister.attest.hardware import HARDWARE_STEPS
from cloister.attest.nvidia.appraisal import NVIDIA_APPRAISAL_STEPS
from cloister.attest.nvidia.device import DEVICE_STEPS
from cloister.attest.nvidia.rim import RIM_STEPS
from cloister.cli.evidence_verify import NOT_REACHED
from cloister.cli.explained.remedies import REMEDIES
from cloister.cli.main import run
from cloister.endorsements.store import EndorsementStore
from cloister.formats import canonical
from cloister.formats.appraisal_policy import (
    AppraisalPolicy,
    AzureSnpPlatform,
    AzureTdxPlatform,
    NitroPlatform,
    SnpPlatform,
    TdxPlatform,
    VendorRoots,
    exceptions,
)
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment
from cloister.formats.endorsement_bundle import AmdKey, AmdRevocations, EndorsementBundle
from cloister.formats.nitro_policy import NitroImage, NitroPolicy
from cloister.formats.snp_policy import SnpImage
from cloister.formats.snp_report import GuestPolicy
from cloister.formats.snp_tcb import Tcb
from cloister.formats.workload_event import register_value
from cloister.testing.azure_hardware import azure_evidence, hcl_report, report_data_of
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.nvidia_hardware import MadeRim, measured
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import ENCLAVE, TD, TdxHardware, td_report
from cloister.testing.world import NOON

CHIP, TDX, NITRO = SnpHardware(), TdxHardware(at=NOON), MadeNitro(NOON)
CHALLENGE = b"\x0c" * 32
WORKLOAD = b"w" * 48
REPORT = replace(CHIP.report(), report_data=CHALLENGE.ljust(64, b"\0"))
ENDORSED = CHIP.endorsements()
ROOTS = VendorRoots(
    amd=dict(CHIP.roots),
    intel=tuple(TDX.roots),
    nitro=tuple(NITRO.roots),
    nvidia_devices=(VENDOR.device_root.pin,),
    nvidia_manifests=(VENDOR.rim_root.pin,),
)
SNP = SnpPlatform(
    report=CHIP.policy(), images=(SnpImage(measurement=REPORT.measurement, workload=WORKLOAD),), gpu="none"
)
NITRO_PCRS = NITRO.fields()["pcrs"]
ENCLAVE_IMAGE = NitroImage(pcr0=NITRO_PCRS[0], pcr1=NITRO_PCRS[1], pcr2=NITRO_PCRS[2])
DOCUMENT = NitroPolicy(
    images=(ENCLAVE_IMAGE,), pcrs={}, maximum_age_seconds=300, maximum_ahead_seconds=5, expressions=()
)
AMD = {f"{at}.der": data for at, data in enumerate(ENDORSED.chain)} | {"crl": ENDORSED.revocations[0]}
INTEL = {"collateral.json": msgspec.json.encode(TDX.collateral())}
CHALLENGED = ("--challenge", CHALLENGE.hex())
ANY = ("--unsafe-any-challenge",)


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Write evidence, policy and endorsements into files, and verify them."""

    def verified(data, platform, endorsements, *options, at=NOON):
        flags = () if platform is None else exceptions(platform)
        platforms = () if platform is None else (platform,)
        policy = AppraisalPolicy(
            unsafe=tuple(dict.fromkeys(("UnsafeAllowOtherRoots", *flags))), roots=ROOTS, platforms=platforms
        )
        (tmp_path / "policy.toml").write_text(format_appraisal_policy(policy, comment=no_comment))
        (tmp_path / "file").write_bytes(data)
        (tmp_path / "given").mkdir(exist_ok=True)
        for name, content in endorsements.items():
            (tmp_path / "given" / name).write_bytes(content)
        monkeypatch.chdir(tmp_path)
        common = ("--appraisal-policy", "policy.toml", "--endorsements", "given", "--at", str(at))
        monkeypatch.setattr(sys, "argv", ["cloister", "evidence", "verify", "file", *common, *options])
        code = run()
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err, failed=failed(said.out))

    return verified


def failed(out):
    return out.rpartition(" failed: ")[2].strip(".\n").split(", ") if "REFUSED" in out else []


def azure_snp(nonce=CHALLENGE):
    report = replace(CHIP.report(), report_data=report_data_of(RUNTIME))
    return azure_evidence(hcl_report(CHIP.sign(report), RUNTIME), nonce, beside={"vcek": CHIP.certificate()})


def azure_tdx():
    hcl = hcl_report(td_report(BOUND), RUNTIME, tdx=True)
    return azure_evidence(hcl, CHALLENGE, beside={"td_quote": TDX.quote(BOUND)})


def nitro(**changes):
    given = {"user_data": CHALLENGE.ljust(64, b"\0"), "nonce": CHALLENGE} | changes
    return NITRO.document(**given)


def envelope(device=DEVICE, nonce=CHALLENGE):
    report, chain = (base64.b64encode(one).decode() for one in (device.report(nonce), device.chain()))
    return json.dumps([{"arch": "HOPPER", "nonce": nonce.hex(), "evidence": report, "certificate": chain}]).encode()


def rims():
    made = {
        "driver.xml": {at: [measured(at)] for at in range(32)},
        "vbios.xml": {at: [measured(at)] for at in range(32, 64)},
    }
    versions = {"driver.xml": DEVICE.driver, "vbios.xml": "96.00.9F.00.01"}
    files = {
        name: MadeRim(version=versions[name], measurements=measurements).file(VENDOR.rim_signer)
        for name, measurements in made.items()
    }
    responder = Responder(life=VENDOR.life)
    answers = [*DEVICE.answers(responder), *VENDOR.rim_answers(responder)]
    return files | {f"{at}.ocsp": data for at, data in enumerate(answers)}


PLATFORMS = {
    "snp": (CHIP.sign(REPORT), SNP, AMD),
    "snp-tsm": (tsm_json(tsm(CHIP.sign(REPORT), auxblob())), SNP, {"crl": ENDORSED.revocations[0]}),
    "tdx": (
        TDX.quote(replace(TD, report_data=CHALLENGE.ljust(64, b"\0"))),
        TdxPlatform(quote=TDX_POLICY, gpu="none"),
        INTEL,
    ),
    "azure-snp": (azure_snp(), AzureSnpPlatform(report=CHIP.policy(), vm=POLICY, gpu="none"), AMD),
    "azure-tdx": (azure_tdx(), AzureTdxPlatform(quote=TDX_POLICY, vm=POLICY, gpu="none"), INTEL),
    "nitro": (nitro(), NitroPlatform(document=DOCUMENT), {}),
    "gpu": (envelope(), msgspec.structs.replace(SNP, gpu=GPU_POLICY), rims()),
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_good_evidence_that_answers_the_challenge_is_accepted(verify, name):
    data, platform, endorsements = PLATFORMS[name]
    challenge = CHALLENGE.ljust(32 if name.startswith("azure") else 64, b"\0") if "azure" in name else CHALLENGE
    ran = verify(data, platform, endorsements, "--challenge", challenge.hex())
    assert ran.code == 0, ran.out + ran.err
    assert "ACCEPTED: all" in ran.out
    assert "! UnsafeAllowOtherRoots: roots other than the vendors' are taken" in ran.out


@pytest.mark.parametrize("name", PLATFORMS)
def test_evidence_that_answers_another_challenge_is_refused_by_that_alone(verify, name):
    data, platform, endorsements = PLATFORMS[name]
    ran = verify(data, platform, endorsements, "--challenge", "0d" * 32)
    step = {"snp": "snp.report-data", "tdx": "tdx.report-data", "nitro": "nitro.nonce", "gpu": "gpu.nonce"}
    assert ran.code == 3
    assert step.get(name.partition("-")[0], "tpm.nonce") in ran.failed
    assert set(ran.failed) <= {*step.values(), "tpm.nonce", "nitro.user-data", "evidence.gpu"}


@pytest.mark.parametrize("name", PLATFORMS)
def test_freshness_is_never_left_out_by_oversight(verify, name):
    data, platform, endorsements = PLATFORMS[name]
    silent = verify(data, platform, endorsements)
    assert (silent.code, "may be a replay: give --challenge HEX" in silent.err) == (2, True)
    ran = verify(data, platform, endorsements, *ANY)
    assert ran.code == 0
    assert "(not checked: any challenge is taken)" in ran.out
    assert "! --unsafe-any-challenge: nothing says that this was made for you, or lately" in ran.out


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_platform_that_the_policy_does_not_name_is_refused(verify, name):
    data, _, endorsements = PLATFORMS[name]
    ran = verify(data, None, endorsements, *ANY)
    assert ran.code == 3
    assert ran.failed == ["evidence.gpu" if name == "gpu" else "evidence.platform"]


def test_every_failed_check_is_told_with_its_shortfall_and_what_to_do(verify):
    low = Tcb(None, 3, 0, 8, 115)
    tcb = low.encode(CHIP.product)
    report = replace(REPORT, policy=GuestPolicy(REPORT.policy.bits | 1 << 19), vmpl=1, reported_tcb=tcb)
    own = CHIP.certificate(tcb=low)
    ran = verify(CHIP.sign(report, tcb=low), SNP, AMD | {"0.der": own}, *CHALLENGED)
    assert ran.code == 3
    assert ran.failed == ["snp.debug", "snp.vmpl", "snp.tcb"]
    assert "allows DEBUG: the host can read the guest" in ran.out
    assert "VMPL 1 asked for the report; accepted: 0" in ran.out
    assert "  snp.debug: start the guest without DEBUG in its POLICY" in ran.out
    assert "snp 8 is below 24; microcode 115 is below 219: update the SEV firmware" in ran.out
    assert "cloister: refused by snp.debug: " in ran.err


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_who_stops_reading_does_not_change_the_verdict(verify, tmp_path, form):
    for challenge, code in ((CHALLENGE, 0), (bytes(32), 3)):
        verify(*PLATFORMS["snp"], "--challenge", challenge.hex(), *form)
        command = [sys.executable, "-m", "cloister", *sys.argv[1:]]
        reading, writing = os.pipe()
        os.close(reading)
        ran = subprocess.run(command, env=environment(tmp_path), stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (ran.returncode, b"Traceback" in ran.stderr) == (code, False)


def test_every_step_that_can_fail_has_a_remedy():
    hardware = {step for steps in HARDWARE_STEPS.values() for step in steps}
    gpus = {*DEVICE_STEPS, *RIM_STEPS, *NVIDIA_APPRAISAL_STEPS}
    assert set(REMEDIES) == hardware | gpus | {"evidence.platform", "evidence.gpu", "evidence.workload"}


def test_what_was_not_reached_stands_there_too(verify):
    ran = verify(CHIP.sign(replace(REPORT, report_data=bytes(64)))[:-520] + bytes(520), SNP, AMD, *CHALLENGED)
    assert ran.code == 3
    assert "· snp.debug" in ran.out
    assert f" · {NOT_REACHED}" in ran.out
    unreached = ran.out.count(" · ") - 1  # without the legend
    steps = len(HARDWARE_STEPS[SnpPlatform]) + 2  # those of the platform itself and of its GPUs
    assert f"REFUSED: of {steps} steps {unreached} were not reached, and {len(ran.failed)} failed: " in ran.out


def test_all_bytes_that_it_has_to_carry_can_be_given(verify):
    data = CHIP.sign(replace(REPORT, report_data=b"\5" * 64))
    assert verify(data, SNP, AMD, "--report-data", "05" * 64).code == 0
    assert verify(data, SNP, AMD, "--report-data", "05" * 63 + "06").failed == ["snp.report-data"]
    short = verify(data, SNP, AMD, "--report-data", "05" * 32)
    assert (short.code, "32 bytes to carry: evidence of snp carries 64" in short.err) == (2, True)
    guessed = verify(data, SNP, AMD, "--challenge", "05")
    assert (guessed.code, "a challenge of 1 bytes: it has 32" in guessed.err) == (2, True)
    both = verify(data, SNP, AMD, "--report-data", "05" * 64, *ANY)
    assert (both.code, "--unsafe-any-challenge takes whatever stands there" in both.err) == (2, True)


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name != "nitro"])
def test_a_challenge_beside_report_data_is_not_silently_ignored(verify, name):
    ran = verify(*PLATFORMS[name], "--challenge", "0d" * 32, "--report-data", CHALLENGE.ljust(64, b"\0").hex())
    assert (ran.code, ran.out) == (2, "")
    assert "--challenge and --report-data both say what" in ran.err


def test_a_workload_of_another_length_than_measurements_have_is_wrong_usage(verify):
    ran = verify(*PLATFORMS["snp"], *CHALLENGED, "--workload", "77")
    assert (ran.code, ran.out) == (2, "")
    assert "1 bytes: a workload measurement has 48, 96 hex digits" in ran.err


def test_a_nitro_enclaves_user_data_and_nonce_are_both_held(verify):
    data = nitro(user_data=b"\5" * 64)
    policy = NitroPlatform(document=DOCUMENT)
    assert verify(data, policy, {}, *CHALLENGED, "--report-data", "05" * 64).code == 0
    assert verify(data, policy, {}, "--challenge", "0d" * 32, "--report-data", "05" * 64).failed == ["nitro.nonce"]
    assert verify(data, policy, {}, *CHALLENGED).failed == ["nitro.user-data"]
    assert verify(data, policy, {}, "--report-data", "05" * 64).failed == ["nitro.nonce"]


def test_a_workload_is_asked_for_by_its_measurement(verify):
    for name, register in (("snp", None), ("nitro", register_value(WORKLOAD, "sha384"))):
        data, platform, endorsements = PLATFORMS[name]
        if register is not None:
            data = nitro(pcrs=NITRO_PCRS | {16: register})
        assert verify(data, platform, endorsements, *CHALLENGED, "--workload", WORKLOAD.hex()).code == 0
        other = verify(data, platform, endorsements, *CHALLENGED, "--workload", "aa" * 48)
        assert (other.code, other.failed) == (3, ["evidence.workload"])
    assert "which workload runs was not asked for" in verify(*PLATFORMS["snp"], *CHALLENGED).out


def test_without_endorsements_it_is_said_what_is_missing(verify):
    ran = verify(*PLATFORMS["snp"][:2], {}, *CHALLENGED)
    assert (ran.code, ran.failed) == (3, ["snp.endorsement"])
    assert "no certificate of the endorsement key came along: fetch it from AMD's KDS" in ran.out
    ran = verify(*PLATFORMS["tdx"][:2], {}, *CHALLENGED)
    assert (ran.code, ran.failed) == (3, ["tdx.lists"])
    assert "no Intel collateral came along" in ran.out
    ran = verify(*PLATFORMS["gpu"][:2], {}, *CHALLENGED)
    assert "gpu.revocation" in ran.failed


def test_of_several_keys_the_one_for_this_report_is_taken(verify):
    others = {
        "another chip": SnpHardware(chip="second").certificate(),
        "another tcb": CHIP.certificate(tcb=Tcb(None, 1, 0, 1, 1)),
    }
    assert verify(CHIP.sign(REPORT), SNP, AMD | others, *CHALLENGED).code == 0


def intel_files():
    """What Intel's service answers, each answer in a file."""
    made = TDX.collateral()
    answers = {"tcb.json": ("tcbInfo", made.tcb_info, made.tcb_info_signature)}
    answers |= {"qe.json": ("enclaveIdentity", made.qe_identity, made.qe_identity_signature)}
    files = {name: f'{{"{of}":{body},"signature":"{by}"}}'.encode() for name, (of, body, by) in answers.items()}
    lists = {"pck.crl": bytes.fromhex(made.pck_crl), "root.crl": bytes.fromhex(made.root_ca_crl)}
    return files | lists | {"chain.pem": made.tcb_info_issuer_chain.encode()}


def test_intels_answers_are_put_together(verify):
    quote, platform, _ = PLATFORMS["tdx"]
    files = intel_files()
    assert verify(quote, platform, files, *CHALLENGED).code == 0
    escaped = quote_plus(files["chain.pem"].decode(), safe="").replace("+", "%20").encode()  # as in an HTTP header
    assert verify(quote, platform, files | {"chain.pem": escaped}, *CHALLENGED).code == 0


@pytest.mark.parametrize("name", intel_files())
def test_without_one_of_intels_answers_there_is_no_collateral(verify, name):
    files = {other: data for other, data in intel_files().items() if other != name}
    ran = verify(*PLATFORMS["tdx"][:2], files, *CHALLENGED)
    assert (ran.code, ran.failed) == (3, ["tdx.lists"])


def test_a_file_that_is_no_endorsement_is_named_and_passed_over(verify):
    ran = verify(CHIP.sign(REPORT), SNP, AMD | {"readme": b"hello"}, *CHALLENGED)
    assert ran.code == 0
    assert "note: readme is no endorsement that is known here, and was passed over" in ran.out


def test_pem_is_taken_with_the_text_that_openssl_prints_in_front(verify):
    der = {name: data for name, data in AMD.items() if name != "crl"}
    pem = {name: x509.load_der_x509_certificate(data).public_bytes(Encoding.PEM) for name, data in der.items()}
    pem["crl"] = x509.load_der_x509_crl(AMD["crl"]).public_bytes(Encoding.PEM)
    printed = {name: b"Something:\n    Data:\n        Version: 3 (0x2)\n" + data for name, data in pem.items()}
    assert verify(CHIP.sign(REPORT), SNP, printed, *CHALLENGED).code == 0


CUT = {
    "certificate": (AMD["0.der"][:-7], "a certificate, list or answer in DER"),
    "list": (AMD["crl"][:-1], "a certificate, list or answer in DER"),
    "collateral": (INTEL["collateral.json"][:-40], "JSON"),
    "manifest": (b"<?xml version='1.0'?><Soft", "a manifest in XML"),
    "pem": (b"text\n-----BEGIN CERTIFICATE-----\nMIIB", "PEM"),
}


@pytest.mark.parametrize("name", CUT)
def test_an_endorsement_that_was_cut_is_an_error_by_its_name(verify, name):
    data, what = CUT[name]
    ran = verify(CHIP.sign(REPORT), SNP, AMD | {"vendor.file": data}, *CHALLENGED)
    assert (ran.code, ran.out) == (2, "")
    assert f"vendor.file begins like {what}, and is not whole" in ran.err


def test_a_folder_of_anything_is_not_read_through(verify, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(10):
        with (many / f"{number}").open("wb") as file:
            file.truncate(8 << 20)
    ran = verify(CHIP.sign(REPORT), SNP, {}, *CHALLENGED, "--endorsements", "many")
    assert (ran.code, "name the files for this evidence alone" in ran.err) == (2, True)
    for number in range(600):
        (many / f"{number}").write_bytes(b"")
    ran = verify(CHIP.sign(REPORT), SNP, {}, *CHALLENGED, "--endorsements", "many")
    assert (ran.code, "has 600 files" in ran.err) == (2, True)


@pytest.mark.parametrize("place", ["one file", "bundle", "store"])
def test_endorsements_come_from_a_file_a_bundle_or_a_store_too(verify, tmp_path, place):
    first, second, root = ENDORSED.chain
    kept = (AmdKey(chain=(first, second, root)), AmdRevocations(data=ENDORSED.revocations[0], issuer=root))
    path = tmp_path / place
    options = [*CHALLENGED, "--endorsements", str(path)]
    if place == "one file":
        path.write_bytes(INTEL["collateral.json"])
        assert verify(*PLATFORMS["tdx"][:2], {}, *options).code == 0
        return
    if place == "bundle":
        path.write_bytes(canonical.encode(EndorsementBundle(kept=kept)))
    else:
        store = EndorsementStore(path, ROOTS)
        assert not any(store.take(one, at=NOON).failed for one in kept)
    assert verify(CHIP.sign(REPORT), SNP, {}, *options).code == 0


def test_a_machines_gpus_are_verified_with_its_cpu(verify, tmp_path):
    platform = msgspec.structs.replace(SNP, gpu=GPU_POLICY)
    alone = verify(CHIP.sign(REPORT), platform, AMD | rims(), *CHALLENGED)
    assert (alone.code, alone.failed) == (3, ["gpu.count"])
    (tmp_path / "gpus.json").write_bytes(envelope())
    assert verify(CHIP.sign(REPORT), platform, AMD | rims(), *CHALLENGED, "--gpus", "gpus.json").code == 0
    unwanted = verify(CHIP.sign(REPORT), SNP, AMD | rims(), *CHALLENGED, "--gpus", "gpus.json")
    assert unwanted.failed == ["evidence.gpu"]
    silent = verify(
        CHIP.sign(REPORT), platform, AMD | rims(), "--report-data", REPORT.report_data.hex(), "--gpus", "gpus.json"
    )
    assert silent.failed == ["gpu.nonce"]
    assert "nothing says which nonce the GPUs were asked with" in silent.out


def test_a_gpus_report_comes_with_its_certificates_in_a_file(verify, tmp_path):
    (tmp_path / "chain.pem").write_bytes(DEVICE.chain())
    platform = msgspec.structs.replace(SNP, gpu=GPU_POLICY)
    data = DEVICE.report(CHALLENGE)
    assert verify(data, platform, rims(), *CHALLENGED, "--chain", "chain.pem").code == 0
    ran = verify(data, platform, rims(), *CHALLENGED)
    assert (ran.code, "give its certificates too, with --chain FILE" in ran.err) == (2, True)
    ran = verify(data, platform, rims(), "--report-data", "0c" * 16, "--chain", "chain.pem")
    assert (ran.code, "16 bytes to answer: the nonce of GPUs has 32" in ran.err) == (2, True)
    assert verify(data, platform, rims(), "--report-data", "0c" * 32, "--chain", "chain.pem").code == 0


def test_a_manifest_is_verified_by_itself(verify):
    platform = msgspec.structs.replace(SNP, gpu=GPU_POLICY)
    files = rims()
    assert verify(files["driver.xml"], platform, files, *ANY).code == 0
    assert verify(files["driver.xml"].replace(b"550.90.07", b"550.90.08"), platform, files, *ANY).failed == [
        "rim.signature"
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (TDX.quote(ENCLAVE, version=3), None),
        (b"nonsense", "not evidence of a format that is known here"),
        (ENDORSED.chain[0], "is an endorsement: give it with --endorsements"),
        (ENDORSED.revocations[0], "is an endorsement: give it with --endorsements"),
    ],
    ids=["enclave", "nonsense", "certificate", "list"],
)
def test_what_no_policy_takes_is_refused_or_said(verify, data, says):
    ran = verify(data, SNP, AMD, *ANY)
    assert ran.code == (3 if says is None else 2)
    assert says is None or says in ran.err


def test_a_paravisors_report_by_itself_lacks_a_quote(verify):
    report = replace(CHIP.report(), report_data=report_data_of(RUNTIME))
    _, platform, endorsements = PLATFORMS["azure-snp"]
    ran = verify(hcl_report(CHIP.sign(report), RUNTIME), platform, endorsements, *ANY)
    assert (ran.code, ran.failed) == (3, ["tpm.signature"])
    assert "no quote of the vTPM came along" in ran.out


def test_json_says_the_same_to_a_program(verify):
    ran = verify(*PLATFORMS["snp"], *CHALLENGED, "--json")
    said = json.loads(ran.out)
    assert (said["accepted"], said["platform"], said["challenge"], said["workload"]) == (
        True,
        "snp",
        "checked",
        "not asked",
    )
    assert {step["outcome"] for step in said["steps"]} == {"passed"}
    refused = json.loads(verify(*PLATFORMS["snp"], "--challenge", "0d" * 32, "--json").out)
    assert [step["id"] for step in refused["steps"] if step["outcome"] == "failed"] == ["snp.report-data"]
    assert refused["accepted"] is False
    assert list(refused["remedies"]) == ["snp.report-data"]


def test_evidence_comes_from_standard_input_too(verify, monkeypatch):
    stream = SimpleNamespace(buffer=io.BytesIO(CHIP.sign(REPORT)))
    monkeypatch.setattr(sys, "stdin", stream)
    verify(CHIP.sign(REPORT), SNP, AMD, *CHALLENGED)
    sys.argv[3] = "-"
    assert run() == 0


def test_a_store_of_other_roots_is_told_and_left_as_it_is(verify, tmp_path):
    other = msgspec.structs.replace(ROOTS, intel=())
    EndorsementStore(tmp_path / "store", other)
    before = {*(tmp_path / "store").rglob("*")}
    ran = verify(*PLATFORMS["snp"][:2], {}, *CHALLENGED, "--endorsements", "store")
    assert (ran.code, ran.failed) == (3, ["snp.endorsement"])
    assert "note: the store store has nothing under the policy's roots: all of it was taken under other" in ran.out
    assert {*(tmp_path / "store").rglob("*")} == before


def test_it_is_judged_at_a_moment(verify):
    late = verify(*PLATFORMS["snp"], *CHALLENGED, at="2030-01-01T00:00:00Z")
    assert late.failed == ["snp.chain"]
    assert "as things stood at 2030-01-01 00:00:00 UTC" in late.out
    assert verify(*PLATFORMS["snp"], *CHALLENGED, at="yesterday").code == 2
