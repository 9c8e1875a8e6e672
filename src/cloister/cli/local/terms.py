"""The local constitution and contract: written from what was measured, signed by both parties' keys, amended likewise.

Both keys are this machine's, and the notice is 0, which only a local constitution or contract may state. So these
terms protect nobody from this machine's owner; they are the same terms that parties who do not trust each other sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from cloister.cli.local.endpoints import endpoints_of
from cloister.cli.local.keys import LocalKeys
from cloister.cli.local.measurement import Measurement
from cloister.cli.local.settings import LocalSettings
from cloister.contract.amendment import first_constitution, first_contract
from cloister.contract.plain import PlainTerms, plain_contract
from cloister.contract.walk import unlogged, walk_constitutions, walk_contracts
from cloister.crypto.hpke import X_WING
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, SoftwarePlatform
from cloister.formats.change_rules import ChangeRules
from cloister.formats.constitution import Amender, Constitution, Log
from cloister.formats.contract import Contract, Endpoint, NamedDigest, Sandbox, Task
from cloister.formats.evidence import Unsafe
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.statements import open_statement, sign_statement
from cloister.node.service import NodeSecurity, node_security
from cloister.sandbox.plan import Choice
from cloister.services.gateway import security as gateway_security
from cloister.services.gateway.engine_choice import SandboxSizes, engine_named
from cloister.services.gateway.security import GatewaySecurity, Runs
from cloister.services.kms import security as kms_security
from cloister.services.kms.security import KmsSecurity
from cloister.tee.software import PLATFORM_MEASUREMENT

Governed = TypeVar("Governed", Constitution, Contract)

OWN_MODELS = {"speech": "pocketsphinx-en-us"}  # that come with an engine, in the clear
NO_MODEL = "none"
NAMES_OF_PARTIES = ("model owner", "operator")
DAY = 86_400
VALID_DAYS, RENEW_DAYS = 365, 30
BACKDATED_SECONDS = 600  # so that clocks a little behind find the contract in force
STATE_AGE_SECONDS, SKEW_SECONDS = 600, 60


@dataclass(frozen=True, slots=True)
class Found:
    """What is to run: the measurement of the code, the engine, and the settings of both nodes."""

    workload: bytes  # 48 bytes, of a KMS
    gateway_workload: bytes  # 48 bytes, the sandbox profile included
    engine: str
    runs: Runs
    kms: KmsSecurity
    gateway: GatewaySecurity
    sealed: str = ""  # the name of the sealed model, empty where the engine has its own
    model: Path | None = None  # where that lies on the gateway's machine
    sizes: SandboxSizes = field(default_factory=SandboxSizes)
    sandbox: Choice = "auto"  # by which `runs` was found

    @property
    def model_name(self) -> str:
        """What contracts written here call the model."""
        return self.sealed or OWN_MODELS.get(self.engine, NO_MODEL)


def found_by(measurement: Measurement, settings: LocalSettings) -> Found:
    """What was measured, with the settings that it is to run with."""
    return Found(
        bytes.fromhex(measurement.workload),
        bytes.fromhex(measurement.gateway),
        settings.engine,
        measurement.runs(),
        settings.kms,
        settings.gateway,
        sealed=measurement.sealed,
        model=settings.model,
        sizes=settings.sizes,
        sandbox=settings.sandbox,
    )


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first constitution, as it is signed and as it says."""

    entry: bytes
    constitution: Constitution


@dataclass(frozen=True, slots=True)
class Terms:
    """What is signed, first to current, and what of it is in force."""

    constitutions: tuple[bytes, ...]
    contracts: tuple[bytes, ...]
    constitution: Constitution
    contract: Contract


def origin_of(log: bytes) -> str:
    """The name of this system's log, from the log's public key."""
    return f"local.cloister/log-{log.hex()[:16]}"


def witness_name(witness: bytes) -> str:
    """The name of this system's witness, from its public key."""
    return f"local.cloister/witness-{witness.hex()[:16]}"


def sign_genesis(keys: LocalKeys, found: Found) -> Genesis:
    """The constitution that everything here begins with."""
    constitution = _constitution(keys, found)
    return Genesis(sign_statement("constitution", constitution, keys.parties), constitution)


def first_terms(keys: LocalKeys, found: Found, genesis: Genesis, *, at: int) -> Terms:
    """The genesis and the first contract under it, at the time `at` (seconds since 1970)."""
    contract = _contract(keys, found, constitution=genesis.constitution.digest(), at=at)
    entry = sign_statement("contract", contract, keys.parties)
    return Terms((genesis.entry,), (entry,), genesis.constitution, contract)


def read_terms(constitutions: Sequence[bytes], contracts: Sequence[bytes]) -> Terms:
    """What signed entries add up to, by the rules of amendment.

    Raises:
        AmendmentRefused, BadSignature, MalformedInput, TooLarge: they do not follow from each other.
    """
    return Terms(tuple(constitutions), tuple(contracts), last_constitution(constitutions), last_contract(contracts))


def last_constitution(entries: Sequence[bytes]) -> Constitution:
    """The constitution in force, of its entries from the first on; raises what `read_terms` does."""
    return walk_constitutions(unlogged(entries))[-1].current


def last_contract(entries: Sequence[bytes]) -> Contract:
    """The contract in force, of its entries from the first on; raises what `read_terms` does."""
    return walk_contracts(unlogged(entries), ())[-1].current


def amended(terms: Terms, keys: LocalKeys, found: Found, *, at: int) -> Terms:
    """The terms that name what was found: `terms` itself where they do, else with successors of what does not."""
    constitution, contract = terms.constitution, terms.contract
    wanted = msgspec.structs.replace(constitution, kms=_kms(found), appraisal=_appraisal(keys))
    constitutions = terms.constitutions
    if wanted != constitution:
        constitution = _successor(constitution, wanted)
        constitutions = (*constitutions, sign_statement("constitution", constitution, keys.parties))
    contracts = terms.contracts
    if what_changed(terms, keys, found, at=at):
        fresh = _contract(keys, found, constitution=contract.constitution, at=at)
        contract = _successor(contract, fresh)
        contracts = (*contracts, sign_statement("contract", contract, keys.parties))
    return Terms(constitutions, contracts, constitution, contract)


def what_changed(terms: Terms, keys: LocalKeys, found: Found, *, at: int) -> list[str]:
    """In words, what of the terms in force is not as found; empty where all is."""
    constitution, contract = terms.constitution, terms.contract
    fresh = _contract(keys, found, constitution=contract.constitution, at=at)
    kept = {"appraisal": contract.appraisal == fresh.appraisal == constitution.appraisal}
    kept["code"] = constitution.kms.workloads == (found.workload,)
    kept["KMS settings"] = constitution.kms.settings == _kms(found).settings
    task, wanted = contract.serving, fresh.serving
    kept["sandbox profile"] = task.sandbox == wanted.sandbox
    kept["engine"] = task.engine == wanted.engine
    kept["model"] = contract.assets == fresh.assets
    kept["endpoints"] = task.endpoints == wanted.endpoints
    if all(kept.values()):
        kept["gateway settings"] = task.nodes == wanted.nodes
    kept["validity"] = contract.not_after - RENEW_DAYS * DAY > at
    return [name for name, same in kept.items() if not same]


def genesis_of(terms: Terms) -> bytes:
    """The digest of the first constitution, 32 bytes."""
    return first_constitution(open_statement(terms.constitutions[0])).digest()


def line_of(terms: Terms) -> bytes:
    """The digest of the first contract, 32 bytes."""
    return first_contract(open_statement(terms.contracts[0])).digest()


def trust_policy(terms: Terms, *, line: bytes | None = None) -> TrustPolicy:
    """What this machine's client insists on: this system and no other, by its beginnings.

    `line` is the digest of the first contract where another than these terms' is served.
    """
    return TrustPolicy(
        constitution=genesis_of(terms),
        contract=line or line_of(terms),
        unsafe=("UnsafeAllowSoftwareTee",),
        kems=(X_WING,),
        maximum_state_age_seconds=STATE_AGE_SECONDS,
        maximum_clock_skew_seconds=SKEW_SECONDS,
    )


def _constitution(keys: LocalKeys, found: Found) -> Constitution:
    return Constitution(
        name="local constitution",
        sequence=0,
        previous=b"",
        log=Log(origin=origin_of(keys.log.public), key=keys.log.public),
        witnesses=(keys.witness_keys.named(witness_name(keys.witness.public)),),
        quorum=1,
        kms=_kms(found),
        appraisal=_appraisal(keys),
        amenders=tuple(
            Amender(name=name, keys=(key.public,)) for name, key in zip(NAMES_OF_PARTIES, keys.parties, strict=True)
        ),
        changes=ChangeRules(
            approvers=NAMES_OF_PARTIES, number=2, veto=(), window_seconds=DAY, notice_seconds=0, urgent="none"
        ),
        local=True,
    )


def gateway_reference(found: Found, endpoints: Sequence[Endpoint], unsafe: Sequence[Unsafe]) -> RoleReference:
    """The gateway that was found, as a contract with these endpoints and exceptions names it."""
    bound = gateway_security.security_settings(found.gateway, found.runs, endpoints=endpoints, unsafe=unsafe)
    return RoleReference(role="gateway", workloads=(found.gateway_workload,), settings=(bound.digest(),))


def software_appraisal(platform: bytes) -> AppraisalPolicy:
    """Takes the software TEE with this public key, by name, and nothing else."""
    return AppraisalPolicy(
        unsafe=("UnsafeAllowSoftwareTee",),
        roots="vendors",
        platforms=(SoftwarePlatform(keys=(platform,), measurements=(PLATFORM_MEASUREMENT,)),),
    )


def _contract(keys: LocalKeys, found: Found, *, constitution: bytes, at: int) -> Contract:
    appraisal = _appraisal(keys)
    node = gateway_reference(found, endpoints_of(found.engine), appraisal.unsafe)
    return plain_contract(
        PlainTerms(
            name="local contract",
            constitution=constitution,
            owner=keys.model_owner.public,
            operator=keys.operator.public,
            model=NamedDigest(name=found.model_name, digest=found.runs.model),
            task=Task(
                name="serve",
                kind="serve",
                nodes=(node, _service(found, appraisal.unsafe)),
                sandbox=Sandbox(tier=found.runs.tier, profiles=(found.runs.sandbox,)),
                engine=NamedDigest(name=engine_named(found.engine).name, digest=found.runs.engine),
                endpoints=endpoints_of(found.engine),
            ),
            appraisal=appraisal,
            not_before=at - BACKDATED_SECONDS,
            not_after=at + VALID_DAYS * DAY,
        )
    )


def _service(found: Found, unsafe: tuple[Unsafe, ...]) -> RoleReference:
    """A node for programs of others, as `cloister node identity` is one with the settings that are written for it."""
    bound = node_security(NodeSecurity(), unsafe=unsafe)
    return RoleReference(role="service", workloads=(found.workload,), settings=(bound.digest(),))


def _kms(found: Found) -> RoleReference:
    settings = kms_security.security_settings(found.kms, unsafe=("UnsafeAllowSoftwareTee",))
    return RoleReference(role="kms", workloads=(found.workload,), settings=(settings.digest(),))


def _appraisal(keys: LocalKeys) -> AppraisalPolicy:
    return software_appraisal(keys.platform.public)


def _successor(current: Governed, wanted: Governed) -> Governed:
    return msgspec.structs.replace(wanted, sequence=current.sequence + 1, previous=current.digest())
