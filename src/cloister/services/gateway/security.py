"""The gateway's settings that bear on security: its evidence binds their digest, its contract names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from cloister.formats.contract import Contract, Endpoint, Tier
from cloister.formats.evidence import SecuritySettings, Unsafe

Duration = Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class GatewaySecurity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[security]` table of a gateway's settings. Changing one makes another gateway: its contract must name it."""

    date_window_seconds: Duration = 300  # by which a request's date may differ from the time here
    replay_entries: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 1_000_000  # requests remembered in a window
    maximum_request_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2**30)] = 32 * 1024 * 1024
    maximum_state_age_seconds: Duration = 600  # of a KMS's bundle that is acted on
    maximum_clock_skew_seconds: Duration = 60  # to the witnesses' clocks


@dataclass(frozen=True, slots=True)
class Runs:
    """What the gateway found that it runs, SHA-256 each: nothing of it is taken from a file that says so."""

    sandbox: bytes  # the profile
    engine: bytes
    model: bytes
    tier: Tier  # of the profile


def under(settings: SecuritySettings, contract: Contract) -> SecuritySettings:
    """The settings of a gateway that goes on under `contract`: what is the contract's choice is as it says."""
    values = settings.values | {"endpoints": _endpoints(contract.serving.endpoints)}
    return msgspec.structs.replace(settings, unsafe=contract.appraisal.unsafe, values=values)


def security_settings(
    security: GatewaySecurity, runs: Runs, *, endpoints: Sequence[Endpoint], unsafe: Sequence[Unsafe]
) -> SecuritySettings:
    """What a gateway with these settings binds; `endpoints` and `unsafe` are its contract's."""
    values = msgspec.structs.asdict(security) | {
        "sandbox": runs.sandbox.hex(),
        "tier": runs.tier,
        "engine": runs.engine.hex(),
        "model": runs.model.hex(),
        "endpoints": _endpoints(endpoints),
    }
    return SecuritySettings(role="gateway", unsafe=tuple(unsafe), values=values)


def _endpoints(endpoints: Sequence[Endpoint]) -> str:
    return " ".join(f"{endpoint.method} {endpoint.path}" for endpoint in endpoints)
