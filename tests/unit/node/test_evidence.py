"""A node's evidence binds its challenge, role, settings, subject and keys."""

from __future__ import annotations

import hashlib

from cloister.formats import canonical
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence, SecuritySettings, gpu_digest, parse_evidence
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.tee.collectors.collected import Collected

SETTINGS = SecuritySettings(role="gateway", unsafe=(), values={"date_window_seconds": 60})


class EchoTee:
    """A TEE whose report is the 64 bytes themselves."""

    platform = "echo"
    workload = bytes(48)

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        return Collected(report_data, (Endorsement(kind="amd-certificates", data=challenge),))

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        return ()

    def sealing_key(self, context: bytes) -> None:
        return None


def test_the_report_is_over_the_binding_that_travels_with_it():
    keys = NodeSecrets.generate().public
    made = evidence(EchoTee(), challenge=b"c" * 32, settings=SETTINGS, subject=b"s" * 32, keys=keys)
    assert made.report == made.binding.report_data()
    assert made.binding.challenge == b"c" * 32
    assert made.binding.role == "gateway"
    assert made.binding.subject == b"s" * 32
    assert made.binding.settings == hashlib.sha256(canonical.encode(SETTINGS)).digest()
    assert made.binding.keys == keys.thumbprint()
    assert made.binding.gpu == gpu_digest(made.gpu) == b""


def test_evidence_travels_and_comes_back_the_same():
    keys = NodeSecrets.generate().public
    made = evidence(EchoTee(), challenge=bytes(32), settings=SETTINGS, subject=bytes(32), keys=keys)
    assert parse_evidence(canonical.encode(made)) == made


def test_every_node_has_keys_of_its_own_and_shows_none_of_them():
    first, second = NodeSecrets.generate(), NodeSecrets.generate()
    assert first.public != second.public
    assert len(first.public.sign) == 32
    assert len(first.public.wrap) == 1216
    assert first.sign.seed.reveal().hex() not in repr(first)
    assert first.wrap.secret.reveal().hex() not in repr(first)
