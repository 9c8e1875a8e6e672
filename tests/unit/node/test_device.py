"""A service runs in the TEE that its settings name, or in whatever this machine is."""

from __future__ import annotations

import pytest
from tests.doubles.nvml_library import NvmlLibrary
from tests.doubles.tee_reports import snp_report
from tests.doubles.tsm_kernel import TsmKernel

from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.evidence import SecuritySettings, gpu_digest, gpu_nonce
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.formats.snp_report import parse_snp_report
from cloister.node.device import TeeSettings, open_tee
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.storage.key_file import write_signing_key
from cloister.tee.collectors.collected import NoTee
from cloister.tee.collectors.machine import Machine

WORKLOAD, CHALLENGE = b"w" * 48, b"c" * 32
SETTINGS = SecuritySettings(role="gateway", unsafe=(), values={})


def machine(**changes):
    waits: list[float] = []
    return Machine(calls=TsmKernel(snp_report), sleep=waits.append, **changes)


def shown(tee, keys):
    return evidence(tee, challenge=CHALLENGE, settings=SETTINGS, subject=bytes(32), keys=keys)


def test_auto_is_the_tee_that_this_machine_is_and_its_report_carries_the_binding():
    tee = open_tee(TeeSettings("auto", None), WORKLOAD, machine=machine())
    made = shown(tee, NodeSecrets.generate().public)
    assert (tee.platform, tee.workload, made.platform, made.gpu) == ("snp", WORKLOAD, "snp", ())
    assert parse_snp_report(made.report).report.report_data == made.binding.report_data()
    assert {one.kind for one in made.endorsements} == {"amd-certificates", "amd-revocations"}


def test_gpus_answer_the_nonce_of_this_challenge_and_these_keys_and_are_bound():
    keys = NodeSecrets.generate().public
    tee = open_tee(TeeSettings("auto", None, gpus=True), WORKLOAD, machine=machine(nvml=NvmlLibrary))
    made = shown(tee, keys)
    nonce = gpu_nonce(CHALLENGE, keys.thumbprint())
    assert [parse_nvidia_report(one.report).signed.nonce for one in made.gpu] == [nonce, nonce]
    assert made.binding.gpu == gpu_digest(made.gpu) != b""


def test_a_platform_that_this_machine_is_not_is_refused():
    with pytest.raises(NoTee, match="no way to evidence of tdx"):
        open_tee(TeeSettings("tdx", None), WORKLOAD, machine=machine())


def test_the_software_tee_is_taken_only_where_it_is_named_and_with_its_key(tmp_path):
    key = tmp_path / "platform.seed"
    write_signing_key(key, SigningKey.generate())
    assert open_tee(TeeSettings("software", key), WORKLOAD).platform == "software"
    with pytest.raises(UsageError, match="hardware is platform = auto"):
        open_tee(TeeSettings("software", None), WORKLOAD)
    with pytest.raises(UsageError, match="leave one out"):
        open_tee(TeeSettings("auto", key), WORKLOAD, machine=machine())
    with pytest.raises(UsageError, match="nothing ties a GPU"):
        open_tee(TeeSettings("software", key, gpus=True), WORKLOAD)
