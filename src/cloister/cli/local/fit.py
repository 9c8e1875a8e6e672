"""Whether a contract that others wrote fits what would run here, part by part; and one filled in so that it does.

The KMS decides, by the same parts, when a node asks it for a key: this says it before anything starts, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from cloister.cli.local.endpoints import endpoints_of
from cloister.cli.local.terms import Found, gateway_reference, software_appraisal
from cloister.contract.draft import OPEN
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, SoftwarePlatform
from cloister.formats.contract import TIERS, Asset, Contract, NamedDigest, Sandbox, Task
from cloister.services.gateway.engine_choice import engine_named
from cloister.tee.software import PLATFORM_MEASUREMENT

GATEWAY: Final = "gateway"
SUCCESSOR = "the parties put a successor in force that names it (cloister contract amend, then fill)"


@dataclass(frozen=True, slots=True)
class Misfit:
    """A part of a contract that is not as what would run here, and what to do about that."""

    part: str
    shortfall: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.part}: {self.shortfall}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Here:
    """What a contract is held against: this machine's KMS, the public key of its software TEE, and what would run."""

    genesis: bytes  # digest of the KMS's first constitution
    platform: bytes
    found: Found


def misfits(contract: Contract, here: Here, *, at: int) -> Iterator[Misfit]:
    """Every part that would have the KMS refuse this machine's gateway at `at`, or the gateway its clients."""
    if contract.constitution != here.genesis:
        says = f"is under the KMS {_short(contract.constitution)}, the one here is {_short(here.genesis)}"
        yield Misfit("constitution", says, "write it anew for this one: cloister contract new --state, of this folder")
    if not contract.not_before <= at < contract.not_after:
        remedy = "the parties put a successor in force that is valid now"
        yield Misfit("validity", f"holds from {contract.not_before} to {contract.not_after}, it is {at}", remedy)
    yield from _appraisal(contract.appraisal, here.platform)
    yield from _model(contract, here.found)
    yield from _task(contract.serving, here.found)
    reference = next((one for one in contract.serving.nodes if one.role == GATEWAY), None)
    if reference is None:
        yield Misfit("role", "the task names no gateway", SUCCESSOR)
    else:
        yield from _node(reference, contract, here.found)


def filled(contract: Contract, found: Found, *, platform: bytes | None, beside: bool) -> Contract:
    """`contract` with what was found in place of what it says of code, settings, sandbox, engine and model.

    Endpoints and the appraisal of evidence are the parties' choice: where there are none yet, the engine's and, where
    `platform` is the public key of a software TEE, that TEE by name. With `beside`, measurements that it has stay.
    """
    appraisal, task = contract.appraisal, contract.serving
    if not appraisal.platforms and platform is not None:
        appraisal = software_appraisal(platform)
    endpoints = task.endpoints or endpoints_of(found.engine)
    fresh = gateway_reference(found, endpoints, appraisal.unsafe)
    before = next((one for one in task.nodes if one.role == GATEWAY), None)
    if beside and before is not None:
        fresh = _beside(before, fresh)
    others = tuple(one for one in task.nodes if one.role != GATEWAY)
    tier = task.sandbox.tier if OPEN not in task.sandbox.profiles else found.runs.tier
    running = msgspec.structs.replace(
        task,
        nodes=(fresh, *others),
        sandbox=Sandbox(tier=tier, profiles=(found.runs.sandbox,)),
        engine=NamedDigest(name=engine_named(found.engine).name, digest=found.runs.engine),
        endpoints=endpoints,
    )
    return msgspec.structs.replace(
        contract,
        appraisal=appraisal,
        assets=tuple(_with_model(contract, asset, found) for asset in contract.assets),
        tasks=tuple(running if one is task else one for one in contract.tasks),
    )


def _with_model(contract: Contract, asset: Asset, found: Found) -> Asset:
    """The one model that the task uses has the digest that was found; of several, nobody here can say which it is."""
    models = contract.granted(contract.serving.name, "model")
    return msgspec.structs.replace(asset, digest=found.runs.model) if models == (asset,) else asset


def _beside(before: RoleReference, fresh: RoleReference) -> RoleReference:
    workloads = dict.fromkeys((*before.workloads, *fresh.workloads))
    settings = dict.fromkeys((*before.settings, *fresh.settings))
    return RoleReference(role=GATEWAY, workloads=tuple(workloads), settings=tuple(settings))


def _appraisal(appraisal: AppraisalPolicy, platform: bytes) -> Iterator[Misfit]:
    remedy = "run on hardware; or, where nothing is to be protected from this machine's owner, all accept it by name"
    if "UnsafeAllowSoftwareTee" not in appraisal.unsafe:
        yield Misfit("appraisal", "does not accept a software TEE (UnsafeAllowSoftwareTee)", remedy)
        return
    software = [one for one in appraisal.platforms if isinstance(one, SoftwarePlatform)]
    if not any(platform in one.keys and PLATFORM_MEASUREMENT in one.measurements for one in software):
        yield Misfit("appraisal", f"does not name this machine's software TEE, key {_short(platform)}", SUCCESSOR)


def _model(contract: Contract, found: Found) -> Iterator[Misfit]:
    models = {asset.digest for asset in contract.granted(contract.serving.name, "model")}
    if found.runs.model not in models:
        named = ", ".join(map(_short, sorted(models))) or "none"
        yield Misfit("model", f"the task is granted {named}, here is {_short(found.runs.model)}", SUCCESSOR)


def _task(task: Task, found: Found) -> Iterator[Misfit]:
    runs = found.runs
    if task.engine.digest != runs.engine:
        says = f"names {_short(task.engine.digest)}, the engine {found.engine} here is {_short(runs.engine)}"
        yield Misfit("engine", says, f"choose another with --engine, or {SUCCESSOR}")
    if runs.sandbox not in task.sandbox.profiles:
        says = f"names the profile {', '.join(map(_short, task.sandbox.profiles))}, here is {_short(runs.sandbox)}"
        yield Misfit("sandbox", says, SUCCESSOR)
    if TIERS.index(runs.tier) < TIERS.index(task.sandbox.tier):
        says = f"wants the tier {task.sandbox.tier}, this machine holds {runs.tier}"
        yield Misfit(
            "sandbox",
            says,
            "choose what confines it with the setting sandbox, or run where it can be had (docs/sandbox.md)",
        )
    if not task.endpoints:
        yield Misfit("endpoints", "opens none, so that every request would be refused", SUCCESSOR)


def _node(reference: RoleReference, contract: Contract, found: Found) -> Iterator[Misfit]:
    fresh = gateway_reference(found, contract.serving.endpoints, contract.appraisal.unsafe)
    if found.gateway_workload not in reference.workloads:
        named = ", ".join(map(_short, reference.workloads)) or "none"
        says = f"names {named}, the gateway's code here is {_short(found.gateway_workload)}"
        yield Misfit("code", says, f"run the code that it names, or {SUCCESSOR}")
    if set(fresh.settings).isdisjoint(reference.settings):
        named = ", ".join(map(_short, reference.settings)) or "none"
        says = f"names {named}, of the gateway here they are {_short(fresh.settings[0])}"
        remedy = "they follow from the parts above, the endpoints, and the table gateway of settings.toml: make these"
        yield Misfit("settings", says, f"{remedy} as agreed, or {SUCCESSOR}")


def _short(digest: bytes) -> str:
    return f"{digest.hex()[:16]}…"
