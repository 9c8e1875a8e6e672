"""Appraisal policies as people write them: what is wrong is named by its key and its line."""

import re

import msgspec
import pytest

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.appraisal_policy import (
    BOOT_PCRS,
    AppraisalPolicy,
    AzureSnpPlatform,
    SnpPlatform,
    VendorRoots,
    VerifierPlatform,
)
from cloister.formats.appraisal_policy_file import (
    MAXIMUM_POLICY,
    format_appraisal_policy,
    no_comment,
    parse_appraisal_policy,
)
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.formats.snp_policy import SnpImage
from cloister.formats.tpm_policy import TpmPolicy
from cloister.testing.made_tokens import MadeVerifier
from cloister.testing.made_verifiers import MadeAzure, MadeGoogle, ear_verifier
from cloister.testing.snp_hardware import SnpHardware

CHIP = SnpHardware()
GPU = NvidiaPolicy(
    gpus=1,
    switches=0,
    architectures=("hopper",),
    modes=("single",),
    drivers=("550.90.07",),
    vbioses=("96.00.9F.00.01",),
    switch_bioses=(),
    without_fwid=False,
    unsafe=("UnsafeAllowUncheckedRevocation",),
    expressions=(),
)
VM = AzurePolicy(
    vm_configuration={"secure-boot": True, "console-enabled": False},
    tpm=TpmPolicy(bank="sha256", pcrs={**dict.fromkeys(BOOT_PCRS, (b"\0" * 32,)), 13: (b"\1" * 32, b"\2" * 32)}),
    expressions=(),
)
POLICY = AppraisalPolicy(
    unsafe=("UnsafeAllowOtherRoots", "UnsafeAllowUncheckedRevocation"),
    roots=VendorRoots(amd=dict(CHIP.roots), intel=(), nitro=(), nvidia_devices=(), nvidia_manifests=()),
    platforms=(
        SnpPlatform(report=CHIP.policy(), images=(SnpImage(measurement=b"m" * 48, workload=b"w" * 48),), gpu=GPU),
        AzureSnpPlatform(report=msgspec.structs.replace(CHIP.policy(), host_data="any"), vm=VM, gpu="none"),
    ),
)
TEXT = format_appraisal_policy(POLICY, comment=no_comment)


def line(beginning, *, after=""):
    """The number of the first line that begins so, behind the first that begins with `after`."""
    lines = TEXT.splitlines()
    start = next(at for at, one in enumerate(lines) if one.startswith(after))
    return next(at for at, one in enumerate(lines, 1) if at > start and one.startswith(beginning))


def test_a_policy_is_written_and_read_again():
    assert parse_appraisal_policy(TEXT.encode()) == POLICY


def test_verifiers_are_tables_of_their_kinds():
    named = VerifierPlatform(verifiers=(ear_verifier(MadeVerifier()), MadeAzure().verifier(), MadeGoogle().verifier()))
    policy = AppraisalPolicy(unsafe=(), roots="vendors", platforms=(named,))
    text = format_appraisal_policy(policy, comment=no_comment)
    assert parse_appraisal_policy(text.encode()) == policy
    assert text.count("[[platforms.verifiers]]") == 3
    with pytest.raises(MalformedInput, match="`kind` says which of them this is: ear, azure-attestation, confiden"):
        parse_appraisal_policy(text.replace('kind = "ear"', 'kind = "oracle"').encode())


def test_bytes_are_hexadecimal_and_tables_have_headers_of_their_own():
    assert f'measurement = "{"6d" * 48}"' in TEXT
    assert "[[platforms.report.minimum_tcbs]]" in TEXT
    assert "[platforms.vm.vm_configuration]\nsecure-boot = true\nconsole-enabled = false" in TEXT
    assert f'4 = ["{"00" * 32}"]' in TEXT


def test_comments_stand_above_their_keys_and_above_the_first_of_several_tables():
    words = {("platforms",): "a platform", ("platforms", "report", "vmpls"): "who asked\nin the guest"}
    text = format_appraisal_policy(POLICY, comment=lambda path: words.get(tuple(path), ""))
    assert text.count("# a platform\n[[platforms]]") == 1
    assert "\n\n# who asked\n# in the guest\nvmpls = [0]\n" in text
    assert parse_appraisal_policy(text.encode()) == POLICY


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("vmpls = [0]", "vmpls = [4]", "vmpls", r"platforms\[0\]\.report\.vmpls\[0\]: Expected `int` <= 3"),
        ('smt = "required"', 'smt = "on"', "smt =", r"report\.guest\.smt: 'on' is none of: either, forbidden, requ"),
        ('bank = "sha256"', 'bank = "sha1"', "bank", r"platforms\[1\]\.vm\.tpm\.bank: 'sha1' is none of"),
        (
            'host_data = "any"',
            'host_data = "all"',
            'host_data = "any"',
            r"\[1\]\.report\.host_data: 'all' is none of: any",
        ),
        ("mitigations = 3", 'mitigations = "3"', "mitigations", "Expected `int`, got `str`"),
        ("mitigations = 3\n", "", "[platforms.report]", "report: missing: mitigations; no key has a default"),
        ("mitigations = 3", "mitigations = 3\nextra = 1", "chip_ids", r"report\.extra: a key that is not known"),
        ('platform = "snp"', 'platform = "sev"', "[[platforms]]", "says which of them this is: software, snp, tdx"),
        ('platform = "snp"\n', "", "[[platforms]]", "says which of them this is"),
        ('"6d6d', '"6D6d', "measurements", r"measurements\[0\]: not pairs of lower-case hex digits"),
        ('"6d6d', '"d6d', "measurements", "not pairs of lower-case hex digits"),
        ('"6d6d', '"6d', "measurements", "Expected `bytes` of length >= 48"),
        ('gpu = "none"', "gpu = []", 'gpu = "none"', r"platforms\[1\]\.gpu: Expected `str . object`, got `array`"),
        ("13 = [", "013 = [", "13 = [", "pcrs.013: the key is to be a number"),
        ("13 = [", "24 = [", "[platforms.vm.tpm.pcrs]", "Expected `int` <= 23"),
        ("version = 1", "version = 2", "version", "version: '2' is none of: 1"),
        (
            "secure-boot = true",
            "secure-boot = 1",
            "[platforms.vm.vm_configuration]",
            "Expected `(str . bool|bool . str)`, got `int`",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_key_and_its_line(old, new, at, says):
    assert old in TEXT
    with pytest.raises(MalformedInput, match=says) as refused:
        parse_appraisal_policy(TEXT.replace(old, new, 1).encode())
    found = re.search(r"line (\d+):", str(refused.value))
    assert found is not None
    assert int(found[1]) == line(at)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"UnsafeAllowOtherRoots", ', "", "roots other than the vendors' need UnsafeAllowOtherRoots"),
        (
            ', "UnsafeAllowUncheckedRevocation"',
            "",
            "UnsafeAllowUncheckedRevocation stands in a platform and not in the",
        ),
    ],
)
def test_a_hidden_exception_is_no_policy(old, new, says):
    with pytest.raises(MalformedInput, match=says):
        parse_appraisal_policy(TEXT.replace(old, new, 1).encode())


@pytest.mark.parametrize("data", [b"\xff", b"version = ", b"[a", b"x = " + b"[" * 5000, b""], ids=range(5))
def test_what_is_no_toml_is_no_policy(data):
    with pytest.raises(MalformedInput, match="not an appraisal policy"):
        parse_appraisal_policy(data)


def test_a_long_file_is_refused_before_any_work():
    with pytest.raises(TooLarge):
        parse_appraisal_policy(b"#" * (MAXIMUM_POLICY + 1))
