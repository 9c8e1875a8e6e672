"""What a local system's parties write and sign: keys, constitution, contract, and a client's trust policy.

Everything is signed as in production; the TEEs are software or made-up hardware, and the workload measurements are
fixed values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cloister.contract.plain import PlainTerms, plain_contract
from cloister.crypto.hpke import X_WING
from cloister.crypto.signing import SigningKey
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, SoftwarePlatform
from cloister.formats.change_rules import ChangeRules
from cloister.formats.constitution import Amender, Constitution, Log, Witness
from cloister.formats.contract import Contract, Endpoint, NamedDigest, Sandbox, Task
from cloister.formats.evidence import Unsafe
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import sign_statement
from cloister.node.evidence import Tee
from cloister.node.keys import NodeSecrets
from cloister.services.gateway.contract import ServedContract, trust_policy
from cloister.services.gateway.kms_keys import GatewayNode
from cloister.services.gateway.security import GatewaySecurity, Runs
from cloister.services.gateway.security import security_settings as gateway_settings
from cloister.services.kms.security import KmsSecurity
from cloister.services.kms.security import security_settings as kms_settings
from cloister.services.kms.service import wall_clock
from cloister.storage.key_file import write_signing_key
from cloister.tee.software import PLATFORM_MEASUREMENT, SoftwareTee
from cloister.testing.made_tees import MadeTee, policy_of
from cloister.testing.world import ENGINE, MODEL, SANDBOX, WORKLOAD

ORIGIN, WITNESS_NAME = "log.local/cloister", "witness.local/cloister"
UNSAFE: tuple[Unsafe, ...] = ("UnsafeAllowSoftwareTee",)
ENDPOINTS = (Endpoint(method="POST", path="/v1/audio/transcriptions"),)
RUNS = Runs(SANDBOX, ENGINE, MODEL, "files")
DAY = 86_400  # seconds


@dataclass
class LocalPapers:
    """Keys and papers of a system. Change an attribute before they are written to have another system."""

    folder: Path
    kms_security: KmsSecurity = field(default_factory=lambda: KmsSecurity(head_seconds=5))
    gateway_security: GatewaySecurity = field(default_factory=GatewaySecurity)
    workload: bytes = WORKLOAD  # what the KMS measures
    gateway_workload: bytes = WORKLOAD  # what the gateway does
    runs: Runs = RUNS  # what the gateway finds that it runs
    endpoints: tuple[Endpoint, ...] = ENDPOINTS  # of the engine that clients can reach
    log_key: SigningKey = field(default_factory=SigningKey.generate)
    witness_key: SigningKey = field(default_factory=SigningKey.generate)
    platform_key: SigningKey = field(default_factory=SigningKey.generate)
    owner: SigningKey = field(default_factory=SigningKey.generate)
    operator: SigningKey = field(default_factory=SigningKey.generate)
    mutual_tls: bool = False  # whether the gateway asks KMS instances, and they each other, by their identities
    # On what made-up hardware KMS and gateways run, from their workload; the software TEE where nothing is said.
    kms_on: Callable[[bytes], MadeTee] | None = None
    gateway_on: Callable[[bytes], MadeTee] | None = None

    def __post_init__(self) -> None:
        """Write constitution and contract."""
        self.constitution = self.make_constitution()
        self.contract = self.make_contract()
        self.secrets = NodeSecrets.generate()  # the gateway's

    @property
    def signers(self) -> tuple[SigningKey, SigningKey]:
        """Who signs constitution and contract."""
        return self.owner, self.operator

    @property
    def tee(self) -> Tee:
        """The KMS's TEE."""
        return SoftwareTee(self.platform_key, self.workload) if self.kms_on is None else self.kms_on(self.workload)

    @property
    def gateway_tee(self) -> Tee:
        """The gateway's."""
        if self.gateway_on is None:
            return SoftwareTee(self.platform_key, self.gateway_workload)
        return self.gateway_on(self.gateway_workload)

    def appraisal(self, made: MadeTee | None, workload: bytes) -> AppraisalPolicy:
        """Takes the made-up hardware, or this system's software TEE, by name."""
        if made is not None:
            return policy_of([made], [workload])
        return AppraisalPolicy(
            unsafe=UNSAFE,
            roots="vendors",
            platforms=(SoftwarePlatform(keys=(self.platform_key.public,), measurements=(PLATFORM_MEASUREMENT,)),),
        )

    @property
    def kms_appraisal(self) -> AppraisalPolicy:
        """What the KMS's evidence has to meet."""
        return self.appraisal(self.kms_on and self.kms_on(self.workload), self.workload)

    @property
    def gateway_appraisal(self) -> AppraisalPolicy:
        """What a gateway's has to."""
        return self.appraisal(self.gateway_on and self.gateway_on(self.gateway_workload), self.gateway_workload)

    def make_constitution(self) -> Constitution:
        """The genesis."""
        appraisal = self.kms_appraisal
        digest = kms_settings(self.kms_security, unsafe=appraisal.unsafe).digest()
        return Constitution(
            name="local system",
            sequence=0,
            previous=b"",
            log=Log(origin=ORIGIN, key=self.log_key.public),
            witnesses=(Witness(name=WITNESS_NAME, key=self.witness_key.public),),
            quorum=1,
            kms=RoleReference(role="kms", workloads=(self.workload,), settings=(digest,)),
            appraisal=appraisal,
            amenders=(
                Amender(name="owner", keys=(self.owner.public,)),
                Amender(name="operator", keys=(self.operator.public,)),
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

    def make_contract(self) -> Contract:
        """The first contract of the line."""
        now, appraisal = wall_clock(), self.gateway_appraisal
        bound = gateway_settings(self.gateway_security, self.runs, endpoints=self.endpoints, unsafe=appraisal.unsafe)
        node = RoleReference(role="gateway", workloads=(self.gateway_workload,), settings=(bound.digest(),))
        return plain_contract(
            PlainTerms(
                name="local service",
                constitution=self.constitution.digest(),
                owner=self.owner.public,
                operator=self.operator.public,
                model=NamedDigest(name="whisper-1", digest=self.runs.model),
                task=Task(
                    name="serve",
                    kind="serve",
                    nodes=(node,),
                    sandbox=Sandbox(tier=self.runs.tier, profiles=(self.runs.sandbox,)),
                    engine=NamedDigest(name="engine", digest=self.runs.engine),
                    endpoints=self.endpoints,
                ),
                appraisal=appraisal,
                not_before=now - 3600,
                not_after=now + 30 * DAY,
            )
        )

    def trust_policy(self) -> TrustPolicy:
        """A client's, which pins this system."""
        return TrustPolicy(
            constitution=self.constitution.digest(),
            contract=self.contract.digest(),
            unsafe=tuple(sorted({*self.constitution.appraisal.unsafe, *self.contract.appraisal.unsafe})),
            kems=(X_WING,),
            maximum_state_age_seconds=600,
            maximum_clock_skew_seconds=60,
        )

    def gateway_node(self) -> GatewayNode:
        """The gateway, as it shows itself."""
        contract = ServedContract(self.contract.digest(), self.contract)
        unsafe = self.contract.appraisal.unsafe
        bound = gateway_settings(self.gateway_security, self.runs, endpoints=self.endpoints, unsafe=unsafe)
        return GatewayNode(
            self.gateway_tee, self.secrets, bound, contract, trust_policy(contract, self.gateway_security)
        )

    def write_key(self, name: str, key: SigningKey) -> Path:
        """The file of a key, as services read it."""
        path = self.folder / f"{name}.seed"
        if not path.exists():
            write_signing_key(path, key)
        return path

    def write_papers(self) -> tuple[Path, Path]:
        """The files of constitution and contract, as services read them."""
        papers = (
            (self.folder / "constitution.entries", sign_statement("constitution", self.constitution, self.signers)),
            (self.folder / "contract.entries", sign_statement("contract", self.contract, self.signers)),
        )
        for path, entry in papers:
            path.write_bytes(encode_list([entry]))
        return papers[0][0], papers[1][0]
