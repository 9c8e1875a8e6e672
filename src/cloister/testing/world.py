"""A whole valid system in memory: keys, constitution, contract, KMS, epoch, gateway, and the bundle that shows them.

Everything is signed and proved for real. A test changes one thing and expects one refusal; a user can hold an own
client against it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from cloister.contract.plain import PlainTerms, plain_contract
from cloister.crypto.cose import sign1
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical, key_config
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, SoftwarePlatform
from cloister.formats.change_rules import ChangeRules
from cloister.formats.constitution import Amender, Constitution
from cloister.formats.contract import Contract, Endpoint, NamedDigest, Sandbox, Task
from cloister.formats.evidence import (
    SOFTWARE_REPORT_TYPE,
    Binding,
    Evidence,
    NodeKeys,
    Role,
    SecuritySettings,
    SoftwareReport,
)
from cloister.formats.key_bundle import STATE_HEAD_TYPE, KeyBundle, StateHead, shown_digest
from cloister.formats.model_manifest import ModelFile, ModelManifest
from cloister.formats.release import Epoch, KmsInstance, Release
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.memory_log import MemoryLog

NOON = 1_800_000_000  # seconds since 1970
DAY = 86_400
WORKLOAD = hashlib.sha384(b"workload of these tests").digest()
PLATFORM = hashlib.sha384(b"platform of these tests").digest()
SANDBOX = hashlib.sha256(b"sandbox profile of these tests").digest()
ENGINE = hashlib.sha256(b"engine of these tests").digest()
WEIGHTS = ModelFile(path="weights.bin", size=20, shards=hashlib.sha256(b"model of these tests").digest())
MANIFEST = ModelManifest(name="whisper-1", files=(WEIGHTS,))
MODEL = MANIFEST.digest()
ENDPOINTS = (Endpoint(method="POST", path="/v1/audio/transcriptions"),)


@dataclass(frozen=True)
class Node:
    """A node's secret keys."""

    sign: SigningKey = field(default_factory=SigningKey.generate)
    wrap: KemPrivateKey = field(default_factory=lambda: KemPrivateKey.generate(X_WING))

    @property
    def keys(self) -> NodeKeys:
        """Their public halves."""
        return NodeKeys(sign=self.sign.public, wrap=self.wrap.public)


@dataclass(frozen=True)
class Parties:
    """Who signs what."""

    platform: SigningKey = field(default_factory=SigningKey.generate)
    owner: SigningKey = field(default_factory=SigningKey.generate)
    operator: SigningKey = field(default_factory=SigningKey.generate)


def security_settings(role: Role) -> SecuritySettings:
    """The settings that constitution and contract of these tests name."""
    values: dict[str, str | int | bool] = {"challenge_seconds": 60}
    if role == "gateway":
        named = " ".join(f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS)
        values = {"sandbox": SANDBOX.hex(), "tier": "files", "engine": ENGINE.hex(), "model": MODEL.hex()}
        values["endpoints"] = named
    return SecuritySettings(role=role, unsafe=("UnsafeAllowSoftwareTee",), values=values)


def reference(role: Role) -> RoleReference:
    """The reference values for `role`."""
    return RoleReference(role=role, workloads=(WORKLOAD,), settings=(security_settings(role).digest(),))


def serving(**changes: object) -> Task:
    """The task that the contract of these tests has served."""
    task = Task(
        name="serve",
        kind="serve",
        nodes=(reference("gateway"),),
        sandbox=Sandbox(tier="files", profiles=(SANDBOX,)),
        engine=NamedDigest(name="speech", digest=ENGINE),
        endpoints=ENDPOINTS,
    )
    return msgspec.structs.replace(task, **changes)


def appraisal(platform: SigningKey) -> AppraisalPolicy:
    """A policy that takes the software TEE of these tests, by name."""
    return AppraisalPolicy(
        unsafe=("UnsafeAllowSoftwareTee",),
        roots="vendors",
        platforms=(SoftwarePlatform(keys=(platform.public,), measurements=(PLATFORM,)),),
    )


def signed_report(platform: SigningKey, report_data: bytes, **changes: object) -> bytes:
    """A software TEE's report over `report_data`."""
    report = SoftwareReport(platform_measurement=PLATFORM, workload=WORKLOAD, report_data=report_data)
    changed = msgspec.structs.replace(report, **changes)
    return sign1(platform, canonical.encode(changed), content_type=SOFTWARE_REPORT_TYPE)


def evidence(platform: SigningKey, role: Role, node: Node, *, challenge: bytes, subject: bytes) -> Evidence:
    """Valid evidence of `node` in `role`."""
    settings = security_settings(role)
    binding = Binding(
        challenge=challenge,
        role=role,
        settings=settings.digest(),
        subject=subject,
        keys=node.keys.thumbprint(),
        gpu=b"",
    )
    return sealed_evidence(platform, binding, settings, node)


def sealed_evidence(platform: SigningKey, binding: Binding, settings: SecuritySettings, node: Node) -> Evidence:
    """Evidence whose report binds exactly `binding`."""
    return Evidence(
        platform="software",
        report=signed_report(platform, binding.report_data()),
        endorsements=(),
        binding=binding,
        settings=settings,
        keys=node.keys,
        gpu=(),
    )


class World:
    """A valid system at `now`. Change an attribute or override a method, then ask for the bundle."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now
        self.parties = Parties()
        self.log = MemoryLog(witnesses=2)
        self.kms = Node()
        self.gateway = Node()
        self.transport = KemPrivateKey.generate(X_WING)
        self.constitution = self.make_constitution()
        self.contract = self.make_contract()
        amenders = (self.parties.owner, self.parties.operator)
        self.constitution_entries = [self.log.append(sign_statement("constitution", self.constitution, amenders))]
        self.contract_entries = [self.log.append(sign_statement("contract", self.contract, amenders))]
        self.kms_entry = self.log.append(self.make_instance())
        self.epoch = self.make_epoch()
        self.epoch_entries = [self.log.append(sign_statement("epoch", self.epoch, (self.kms.sign,)))]
        self.release_entries = [self.log.append(sign_statement("release", self.make_release(), (self.kms.sign,)))]

    def make_constitution(self, **changes: object) -> Constitution:
        """The genesis."""
        constitution = Constitution(
            name="constitution of these tests",
            sequence=0,
            previous=b"",
            log=self.log.log,
            witnesses=self.log.witnesses,
            quorum=2,
            kms=reference("kms"),
            appraisal=appraisal(self.parties.platform),
            amenders=(
                Amender(name="owner", keys=(self.parties.owner.public,)),
                Amender(name="operator", keys=(self.parties.operator.public,)),
            ),
            changes=ChangeRules(
                approvers=("owner", "operator"),
                number=2,
                veto=(),
                window_seconds=DAY,
                notice_seconds=0,
                urgent="none",
            ),
            local=True,
        )
        return msgspec.structs.replace(constitution, **changes)

    def make_contract(self, *, not_after: int | None = None, **changes: object) -> Contract:
        """The first contract of the line; its grants end with it, a day from now where nothing else is said."""
        contract = plain_contract(
            PlainTerms(
                name="contract of these tests",
                constitution=self.constitution.digest(),
                owner=self.parties.owner.public,
                operator=self.parties.operator.public,
                model=NamedDigest(name="whisper-1", digest=MODEL),
                task=serving(),
                appraisal=appraisal(self.parties.platform),
                not_before=self.now - DAY,
                not_after=self.now + DAY if not_after is None else not_after,
            )
        )
        return msgspec.structs.replace(contract, **changes)

    def make_instance(self) -> bytes:
        """The entry with which the KMS shows itself."""
        subject = self.constitution.digest()
        shown = evidence(self.parties.platform, "kms", self.kms, challenge=bytes(32), subject=subject)
        instance = KmsInstance(constitution=subject, evidence=canonical.encode(shown), at=self.now)
        return sign_statement("kms", instance, (self.kms.sign,))

    def make_epoch(self, **changes: object) -> Epoch:
        """The first epoch, whose key is `transport`."""
        config = key_config.KeyConfig(1, X_WING, self.transport.public)
        epoch = Epoch(
            contract=self.contract.digest(),
            number=1,
            previous=b"",
            key_config=key_config.encode(config),
            not_before=self.now - 3600,
            not_after=self.now + 3600,
            stale_until=self.now + 7200,
        )
        return msgspec.structs.replace(epoch, **changes)

    def make_release(self, **changes: object) -> Release:
        """The release of the first epoch's key to the gateway."""
        release = Release(
            contract=self.contract.digest(),
            role="gateway",
            epoch=entry_digest(self.log.entries[self.epoch_entries[0]]),
            node=self.gateway.keys,
            evidence=hashlib.sha256(b"evidence").digest(),
            checks=("evidence.workload",),
            at=self.now - 60,
        )
        return msgspec.structs.replace(release, **changes)

    def policy(self, **changes: object) -> TrustPolicy:
        """A trust policy that pins this system."""
        policy = TrustPolicy(
            constitution=self.constitution.digest(),
            contract=self.contract.digest(),
            unsafe=("UnsafeAllowSoftwareTee",),
            kems=(X_WING,),
            maximum_state_age_seconds=600,
            maximum_clock_skew_seconds=60,
        )
        return msgspec.structs.replace(policy, **changes)

    def head(self, note: bytes, **changes: object) -> bytes:
        """The signed state head at `note`."""
        head = StateHead(
            checkpoint=hashlib.sha256(note).digest(),
            constitution=self.constitution.digest(),
            contract=self.contract.digest(),
            epoch=self.epoch.number,
            shown=shown_digest(self.entries_at(self.epoch_entries), self.entries_at(self.release_entries)),
            instances=(self.kms.sign.public,),
            revoked=(),
            at=self.now,
        )
        changed = msgspec.structs.replace(head, **changes)
        return sign1(self.kms.sign, canonical.encode(changed), content_type=STATE_HEAD_TYPE)

    def entries_at(self, indices: list[int]) -> list[bytes]:
        """The log's entries at `indices`."""
        return [self.log.entries[index] for index in indices]

    def headed(self, bundle: KeyBundle) -> KeyBundle:
        """The bundle with a head about exactly the epochs and releases that it shows."""
        shown = shown_digest((one.entry for one in bundle.epochs), (one.entry for one in bundle.releases))
        return msgspec.structs.replace(bundle, head=self.head(bundle.checkpoint, shown=shown))

    def kms_evidence(self, note: bytes) -> Evidence:
        """The KMS's evidence, answering `note`."""
        challenge, subject = hashlib.sha256(note).digest(), self.constitution.digest()
        return evidence(self.parties.platform, "kms", self.kms, challenge=challenge, subject=subject)

    def bundle(self, note: bytes | None = None) -> KeyBundle:
        """The bundle over the log as it stands, cosigned at `now` unless `note` is given."""
        shown = self.log.checkpoint(at=self.now) if note is None else note
        size = len(self.log.entries)
        return KeyBundle(
            checkpoint=shown,
            consistency=self.log.consistency(range(1, size)),
            constitutions=self.log.logged(self.constitution_entries),
            contracts=self.log.logged(self.contract_entries),
            epochs=self.log.logged(self.epoch_entries),
            releases=self.log.logged(self.release_entries),
            evidence=canonical.encode(self.kms_evidence(shown)),
            head=self.head(shown),
        )
