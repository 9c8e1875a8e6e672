"""Verifiers of other makers, made up: tokens in the form of Microsoft's and Google's, by keys of these tests.

Nothing here is vouched for by either: production code takes such tokens only where a policy pins these keys.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.formats import canonical
from cloister.formats.contract_verifier import (
    GOOGLE_ISSUER,
    AzureVerifier,
    ConfidentialSpaceVerifier,
    ContainerImage,
    EarVerifier,
)
from cloister.formats.evidence import Binding, Evidence, NodeKeys, SecuritySettings
from cloister.formats.jws import encode_base64url
from cloister.formats.named_token import BY_VERIFIER, NamedToken
from cloister.formats.snp_policy import SnpImage
from cloister.formats.workload_event import register_value
from cloister.testing.certificates import Authority, Life
from cloister.testing.made_tokens import AUDIENCE, ISSUER, POLICY, MadeVerifier
from cloister.testing.rsa_keys import made_rsa_key
from cloister.testing.world import NOON, WORKLOAD

Claims = dict[str, Any]
AZURE_ISSUER = "https://sharedtest.tst.attest.azure.net"
LAUNCHED = hashlib.sha384(b"launch measurement of these tests").digest()
IMAGE = hashlib.sha256(b"container image of these tests").digest()
_ZEROS = bytes(48).hex()


def ear_verifier(made: MadeVerifier, **changes: object) -> EarVerifier:
    """A verifier of Cloister's, as a policy names it."""
    (key,) = made.keys.values()
    verifier = EarVerifier(
        name="ours",
        issuer=ISSUER,
        audience=AUDIENCE,
        keys=(key,),
        policies=(POLICY,),
        maximum_age_seconds=300,
        expressions=(),
    )
    return msgspec.structs.replace(verifier, **changes)


@dataclass(frozen=True)
class Issuer:
    """A maker's signing key, and tokens signed with it."""

    seed: str

    @property
    def key(self) -> RSAPrivateKey:
        """RSA of 2,048 bits."""
        return made_rsa_key(self.seed)

    @property
    def public(self) -> bytes:
        """Its SubjectPublicKeyInfo in DER, as policies pin it."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def token(self, claims: Mapping[str, Any], **header: object) -> bytes:
        """`claims`, signed with RS256 under a header with these members besides."""
        members = {"alg": "RS256", "typ": "JWT", "kid": "a key of these tests"} | header
        head, payload = (encode_base64url(msgspec.json.encode(one)) for one in (members, claims))
        signed = head + b"." + payload
        return signed + b"." + encode_base64url(self.key.sign(signed, PKCS1v15(), hashes.SHA256()))


@dataclass(frozen=True)
class MadeAzure(Issuer):
    """An instance of Azure Attestation."""

    seed: str = "azure attestation of these tests"

    def verifier(self, **changes: object) -> AzureVerifier:
        """As a policy names it."""
        verifier = AzureVerifier(
            name="azure",
            issuer=AZURE_ISSUER,
            keys=(self.public,),
            images=(SnpImage(measurement=LAUNCHED, workload=WORKLOAD),),
            domains=(_domain(trust_domain_claims(bytes(64))),),
            maximum_age_seconds=300,
            expressions=(),
        )
        return msgspec.structs.replace(verifier, **changes)


@dataclass(frozen=True)
class MadeGoogle(Issuer):
    """Google Cloud Attestation."""

    seed: str = "google cloud attestation of these tests"
    life: Life = field(default_factory=lambda: Life(NOON - 86_400, NOON + 86_400))

    @property
    def authority(self) -> Authority:
        """Who vouches for PKI tokens' keys."""
        root = Authority.root("Confidential Space root of these tests", self.life)
        return root.authority("Confidential Space intermediate of these tests", self.life)

    def chain(self, *, signs: bool = True) -> list[str]:
        """The `x5c` of a PKI token: its own certificate, which says whether it may sign, first."""
        usage = x509.KeyUsage(signs, *(False,) * 4, not signs, *(False,) * 3)
        leaf = self.authority.issue("token signer", self.key.public_key(), self.life, [(usage, True)])
        chain = (leaf, *self.authority.chain)
        return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]

    def verifier(self, **changes: object) -> ConfidentialSpaceVerifier:
        """As a policy names it."""
        verifier = ConfidentialSpaceVerifier(
            name="google",
            audience=AUDIENCE,
            keys=(self.public,),
            roots=(self.authority.pin,),
            images=(ContainerImage(digest=IMAGE, workload=WORKLOAD),),
            minimum_version=240_900,
            maximum_age_seconds=300,
            expressions=(),
        )
        return msgspec.structs.replace(verifier, **changes)


def snp_guest_claims(report_data: bytes, *, at: int = NOON) -> Claims:
    """What Microsoft says of an SEV-SNP guest."""
    return _azure("sevsnpvm", at) | {
        "x-ms-compliance-status": "azure-signed-katacc-uvm",
        "x-ms-sevsnpvm-authorkeydigest": _ZEROS,
        "x-ms-sevsnpvm-bootloader-svn": 4,
        "x-ms-sevsnpvm-familyId": "01" + "00" * 15,
        "x-ms-sevsnpvm-guestsvn": 2,
        "x-ms-sevsnpvm-hostdata": "00" * 32,
        "x-ms-sevsnpvm-idkeydigest": _ZEROS,
        "x-ms-sevsnpvm-imageId": "02" + "00" * 15,
        "x-ms-sevsnpvm-is-debuggable": False,
        "x-ms-sevsnpvm-launchmeasurement": LAUNCHED.hex(),
        "x-ms-sevsnpvm-microcode-svn": 219,
        "x-ms-sevsnpvm-migration-allowed": False,
        "x-ms-sevsnpvm-reportdata": report_data.hex(),
        "x-ms-sevsnpvm-reportid": "07" * 32,
        "x-ms-sevsnpvm-smt-allowed": True,
        "x-ms-sevsnpvm-snpfw-svn": 27,
        "x-ms-sevsnpvm-tee-svn": 0,
        "x-ms-sevsnpvm-vmpl": 0,
    }


def trust_domain_claims(report_data: bytes, *, at: int = NOON) -> Claims:
    """What Microsoft says of a trust domain whose loader extended RTMR3 by the workload."""
    measured = {f"tdx_rtmr{index}": f"{index + 1:02x}" * 48 for index in range(3)}
    return (
        _azure("tdxvm", at)
        | measured
        | {
            "attester_tcb_status": "UpToDate",
            "dbgstat": "disabled",
            "eat_profile": "https://aka.ms/maa-eat-profile-tdxvm",
            "intuse": "generic",
            "tdx_mrconfigid": _ZEROS,
            "tdx_mrowner": _ZEROS,
            "tdx_mrownerconfig": _ZEROS,
            "tdx_mrseam": "0a" * 48,
            "tdx_mrsignerseam": _ZEROS,
            "tdx_mrtd": "0b" * 48,
            "tdx_report_data": report_data.hex(),
            "tdx_rtmr3": register_value(WORKLOAD, "sha384").hex(),
            "tdx_seam_attributes": "00" * 8,
            "tdx_seamsvn": 3,
            "tdx_td_attributes": "0000001000000000",
            "tdx_td_attributes_debug": False,
            "tdx_td_attributes_septve_disable": True,
            "tdx_tee_tcb_svn": "03" + "00" * 15,
            "tdx_xfam": "e718060000000000",
        }
    )


def confidential_space_claims(nonce: str, *, at: int = NOON) -> Claims:
    """What Google says of a container on Confidential Space."""
    return {
        "aud": AUDIENCE,
        "iss": GOOGLE_ISSUER,
        "sub": "https://www.googleapis.com/compute/v1/projects/tests/zones/test1-a/instances/vm1",
        "iat": at,
        "nbf": at,
        "exp": at + 3600,
        "eat_nonce": nonce,
        "eat_profile": "https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims",
        "secboot": True,
        "oemid": 11129,
        "hwmodel": "GCP_INTEL_TDX",
        "attester_tcb": ["INTEL"],
        "swname": "CONFIDENTIAL_SPACE",
        "swversion": ["250100"],
        "dbgstat": "disabled-since-boot",
        "google_service_accounts": ["operator@tests.iam.gserviceaccount.com"],
        "submods": {
            "confidential_space": {
                "monitoring_enabled": {"memory": False},
                "support_attributes": ["LATEST", "STABLE", "USABLE"],
            },
            "container": {
                "image_reference": f"registry.test/cloister@sha256:{IMAGE.hex()}",
                "image_digest": f"sha256:{IMAGE.hex()}",
                "image_id": f"sha256:{'0c' * 32}",
                "restart_policy": "Never",
                "env": {"HOSTNAME": "vm1"},
                "env_override": None,
                "cmd_override": None,
                "args": ["/usr/bin/cloister"],
            },
            "gce": {"project_id": "tests", "zone": "test1-a", "instance_name": "vm1", "instance_id": "1"},
        },
    }


def evidence_by(verifier: str, token: bytes, binding: Binding, settings: SecuritySettings, keys: NodeKeys) -> Evidence:
    """Evidence in which a token of the verifier of this name stands for a report."""
    return Evidence(
        platform=BY_VERIFIER,
        report=canonical.encode(NamedToken(verifier=verifier, token=token)),
        endorsements=(),
        binding=binding,
        settings=settings,
        keys=keys,
        gpu=(),
    )


def _azure(kind: str, at: int) -> Claims:
    return {
        "exp": at + 28_800,
        "iat": at,
        "iss": AZURE_ISSUER,
        "jti": "0d" * 32,
        "nbf": at,
        "x-ms-attestation-type": kind,
        "x-ms-policy-hash": "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs",
        "x-ms-runtime": {"keys": []},
        "x-ms-ver": "1.0",
    }


def _domain(claims: Claims) -> bytes:
    names = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "mrconfigid", "mrowner", "mrownerconfig")
    return hashlib.sha384(bytes.fromhex("".join(claims[f"tdx_{name}"] for name in names))).digest()
