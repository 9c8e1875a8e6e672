"""What `cloister appraisal-policy` says of a policy: all of it, and what it lets pass as plainly as what it demands."""

import json
import re
from operator import attrgetter
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.command_line import cloister_command
from tests.doubles.records import records
from tests.unit.test_appraisal_policy_file import GPU

from cloister.cli.explained.policy import explain_policy
from cloister.cli.explained.policy_words import STRICT, UNSAFE
from cloister.cli.policy_examples import EXAMPLES, example_text
from cloister.errors import UsageError
from cloister.formats.appraisal_policy import (
    BOOT_PCRS,
    AppraisalPolicy,
    Platform,
    SoftwarePlatform,
    VerifierPlatform,
    exceptions,
)
from cloister.formats.appraisal_policy_file import parse_appraisal_policy
from cloister.formats.evidence import Unsafe
from cloister.formats.snp_policy import SnpMinimum, UnsafeSnp
from cloister.formats.snp_tcb import Product
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.tdx_policy import UnsafeTdx
from cloister.testing.made_tokens import MadeVerifier
from cloister.testing.made_verifiers import MadeAzure, MadeGoogle, ear_verifier

EXAMPLE = {name: parse_appraisal_policy(example_text(name).encode()) for name in EXAMPLES}


def policy_of(platform):
    return AppraisalPolicy(unsafe=tuple(dict.fromkeys(exceptions(platform))), roots="vendors", platforms=(platform,))


def said_of(platform):
    (said,) = explain_policy(policy_of(platform)).platforms
    return said


def changed(record, path, value):
    """The record with `value` at the dotted `path`."""
    first, _, rest = path.partition(".")
    return msgspec.structs.replace(record, **{first: changed(getattr(record, first), rest, value) if rest else value})


def fields(record, prefix=""):
    """Every field's path that says something, down to tables of lists."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, msgspec.Struct):
            yield from fields(value, f"{prefix}{name}.")
        elif name not in ("version", "unsafe", "bank", "csp_ids", "switch_bioses"):  # nothing, or only with others
            yield f"{prefix}{name}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_field_of_a_policy_is_spoken_of(name):
    (platform,) = EXAMPLE[name].platforms
    said = said_of(platform if name == "nitro" else changed(platform, "gpu", GPU))
    keys = {one.key for one in (*said.takes, *said.relaxes)}
    wanted = set(fields(platform if name == "nitro" else changed(platform, "gpu", GPU)))
    assert not {one for one in wanted if not any(key.startswith(one) for key in keys)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_commented_strict_and_denies(name):
    policy, text = EXAMPLE[name], example_text(name)
    said = explain_policy(policy)
    assert policy.unsafe == ()
    assert policy.roots == "vendors"
    assert said.platforms[0].denies
    assert not said.relaxes
    assert '"any"' not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert text.startswith("# An appraisal policy to begin from.")
    assert len(text.splitlines()[0]) <= 120
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_with_gpus_wants_them_and_denies(name):
    if name == "nitro":
        with pytest.raises(UsageError, match="nothing ties a GPU to a node of nitro"):
            example_text(name, gpus=1)
        return
    text = example_text(name, gpus=8)
    said = explain_policy(parse_appraisal_policy(text.encode()))
    assert "[platforms.gpu]\n\n# Exactly so many GPUs" in text or "[platforms.gpu]\n# Exactly so many GPUs" in text
    assert any(one.says == "Exactly 8 GPUs, no two the same." for one in said.platforms[0].takes)
    assert {"gpu.architectures", "gpu.drivers", "gpu.vbioses"} <= set(said.platforms[0].denies)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "path", "value", "says"),
    [
        ("snp", "report.signing_keys", ("VCEK", "VLEK"), "VLEK: a cloud's key signs for all of its chips"),
        ("snp", "report.vmpls", (0, 2), "Reports asked for at VMPL 2 are taken"),
        ("snp", "report.minimum_firmware", (0, 0, 0), "Any version: the firmware is committed"),
        ("snp", "report.minimum_abi", (0, 0), "Any version: the guest demands an ABI"),
        ("snp", "report.guest.cxl_allow", "either", "Not looked at: POLICY's CXL_ALLOW"),
        (
            "snp",
            "report.platform.alias_check_complete",
            "either",
            "Not looked at: PLATFORM_INFO's ALIAS_CHECK_COMPLETE",
        ),
        ("snp", "report.chip_ids", "any", "Any chip is taken"),
        ("snp", "report.host_data", "any", "HOST_DATA is not looked at"),
        ("snp", "report.id_key_digests", "any", "Who signed the guest's identity block"),
        ("snp", "report.author_key_digests", "any", "Who signed for the identity key"),
        ("snp", "report.unsafe", ("UnsafeAllowSnpDebug",), "guests are taken whose memory the host can read"),
        ("tdx", "quote.tcb.statuses", (TcbStatus.OUT_OF_DATE,), "OutOfDate: the platform has holes that are known"),
        ("tdx", "quote.tcb.advisories", ("INTEL-SA-00837",), "INTEL-SA-00837 is accepted"),
        ("tdx", "quote.tcb.maximum_tcb_age_seconds", 4 * 365 * 86_400, "published 1460 days ago at most"),
        ("tdx", "quote.tcb.minimum_evaluation_data_number", 0, "Collateral that is in date is taken, though newer"),
        ("tdx", "quote.tcb.ppids", "any", "Any platform is taken"),
        ("tdx", "quote.tcb.fmspcs", "any", "Any kind of platform is taken"),
        ("tdx", "quote.key_locker", "allowed", "Not looked at: the TD attribute KL"),
        ("tdx", "quote.other_attributes", b"\0\0\0\x08\0\0\0\0", "TD attributes 0x8000000 may be set"),
        ("tdx", "quote.xfam_allowed", b"\xff" * 8, "Any extended feature of the processor"),
        ("tdx", "quote.service_tds", (b"\1" * 48,), "service TDs may be bound"),
        ("tdx", "quote.unreported_service_td", "accept", "which do not say if a service TD is bound"),
        ("azure-snp", "vm.vm_configuration", {}, "Not looked at: whether secure-boot is true"),
        ("azure-tdx", "vm.tpm.pcrs", dict.fromkeys(BOOT_PCRS, ()), "PCR 1 is not looked at: "),
        ("nitro", "document.pcrs", {}, "PCR8 is not looked at: who signed the image"),
        ("nitro", "document.maximum_age_seconds", 86_400, "A document is 86400 s old at most"),
        ("snp", "gpu", GPU, "UnsafeAllowUncheckedRevocation: NVIDIA's certificates are taken"),
        ("snp", "gpu", msgspec.structs.replace(GPU, without_fwid=True), "whose reports do not say their firmware id"),
        (
            "snp",
            "gpu",
            msgspec.structs.replace(GPU, modes=("unstated",)),
            "whose driver does not say how they are tied",
        ),
    ],
)
def test_what_a_policy_lets_pass_is_said(name, path, value, says):
    (platform,) = EXAMPLE[name].platforms
    before, after = said_of(platform), said_of(changed(platform, path, value))
    assert not any(says in one.says for one in before.relaxes)
    assert any(says in one.says for one in after.relaxes), after.relaxes


RELAXED = {"snp": ("report", UnsafeSnp), "tdx": ("quote", UnsafeTdx)}


@pytest.mark.parametrize("name", RELAXED)
def test_what_is_demanded_by_default_is_said_first_and_no_longer_once_it_is_relaxed(name):
    (platform,) = EXAMPLE[name].platforms
    part, flags = RELAXED[name]
    takes = [one.says for one in said_of(platform).takes]
    strict = [STRICT[flag] for flag in get_args(flags)]
    first = takes[: len(takes) - next(at for at, one in enumerate(reversed(takes)) if one in strict)]
    assert [one for one in first if one in strict] == strict
    assert all(one.key in ("always", f"{part}.unsafe") for one in said_of(platform).takes[: len(first)])
    for flag in get_args(flags):
        after = [one.says for one in said_of(changed(platform, f"{part}.unsafe", (flag,))).takes]
        assert [one for one in takes if one not in after] == [STRICT[flag]]


def test_the_revocation_of_gpus_is_demanded_by_default():
    (platform,) = EXAMPLE["snp"].platforms
    strict = changed(changed(platform, "gpu", GPU), "gpu.unsafe", ())
    relaxed = changed(strict, "gpu.unsafe", ("UnsafeAllowUncheckedRevocation",))
    assert STRICT["UnsafeAllowUncheckedRevocation"] in [one.says for one in said_of(strict).takes]
    assert STRICT["UnsafeAllowUncheckedRevocation"] not in [one.says for one in said_of(relaxed).takes]


@pytest.mark.parametrize(("name", "path"), [("snp", "images"), ("tdx", "quote.images"), ("nitro", "document.images")])
def test_the_shape_of_an_image_stands_in_the_example_as_a_comment_that_holds(name, path):
    text = example_text(name)
    commented = re.search(r"^# images = \[\n(?:#   .*\n)+# \]\n", text, re.MULTILINE)
    assert commented
    shape = re.sub("^# ", "", commented[0], flags=re.MULTILINE).replace("…", "07" * 48)
    assert commented[0] + "images = []\n" in text
    text = text.replace("images = []\n", shape).replace("\nmeasurements = []\n", f'\nmeasurements = ["{"07" * 48}"]\n')
    (platform,) = parse_appraisal_policy(text.encode()).platforms
    (image,) = attrgetter(path)(platform)
    assert name != "tdx" or image.rtmr3 == "workload"


def test_a_minimum_of_zeros_lets_any_tcb_pass():
    (platform,) = EXAMPLE["snp"].platforms
    nothing = SnpMinimum(product=Product.MILAN, fmc=0, bootloader=0, tee=0, snp=0, microcode=0)
    said = said_of(changed(platform, "report.minimum_tcbs", (nothing,)))
    assert any("Milan: any TCB passes" in one.says for one in said.relaxes)


def test_every_exception_has_a_sentence():
    assert set(UNSAFE) == {flag for part in get_args(Unsafe) for flag in (get_args(part) or (part,))}


@settings(max_examples=60)
@given(st.one_of(*map(records, Platform.__args__)))
def test_any_policy_is_explained_with_all_of_its_exceptions(platform):
    said = explain_policy(policy_of(platform))
    sentences = [one.says for one in said.relaxes]
    assert all(any(one.startswith(flag) for one in sentences) for flag in exceptions(platform))
    (own,) = said.platforms
    assert all(one.says.endswith(".") for one in (*own.takes, *own.relaxes))


def test_the_software_tee_protects_nothing():
    said = said_of(SoftwarePlatform(keys=(bytes(32),), measurements=()))
    assert any("Nothing is protected" in one.says for one in said.relaxes)
    assert said.denies == ("measurements",)


def test_whose_word_counts_is_said_among_what_is_relaxed():
    named = (ear_verifier(MadeVerifier(), policies=()), MadeAzure().verifier(), MadeGoogle().verifier(keys=()))
    said = said_of(VerifierPlatform(verifiers=named))
    assert [one.key for one in said.relaxes] == ["verifiers.ours", "verifiers.azure", "verifiers.google"]
    assert "https://sharedtest.tst.attest.azure.net says counts: nobody here sees the evidence" in said.relaxes[1].says
    assert said.denies == ("verifiers.ours.policies", "verifiers.google.keys")
    spoken = {one.key for one in (*said.takes, *said.relaxes)}
    for one in named:
        told = {name for name in one.__struct_fields__ if name not in ("name", "issuer")}
        assert {f"verifiers.{one.name}.{name}" for name in told} <= spoken


async def test_the_commands_say_what_a_policy_takes(tmp_path):
    made = await cloister_command("appraisal-policy", "example", "snp", home=tmp_path)
    (tmp_path / "policy.toml").write_text(made.out)
    ran = await cloister_command("appraisal-policy", "explain", "policy.toml", home=tmp_path)
    assert (made.code, ran.code) == (0, 0)
    assert "AMD SEV-SNP guests (snp)" in ran.out
    assert "not checked, relaxed or accepted" in ran.out
    assert "as it stands nothing passes, since these are empty: " in ran.out
    told = await cloister_command("appraisal-policy", "explain", "--json", "policy.toml", home=tmp_path)
    assert json.loads(told.out)["platforms"][0]["platform"] == "snp"


async def test_what_is_no_policy_exits_with_2_and_names_file_key_and_line(tmp_path):
    (tmp_path / "policy.toml").write_text(example_text("snp").replace("vmpls = [0]", "vmpls = [7]"))
    ran = await cloister_command("appraisal-policy", "explain", "policy.toml", home=tmp_path)
    number = example_text("snp").splitlines().index("vmpls = [0]") + 1
    assert ran.code == 2
    assert f"policy.toml: not an appraisal policy: line {number}: platforms[0].report.vmpls[0]: " in ran.err
