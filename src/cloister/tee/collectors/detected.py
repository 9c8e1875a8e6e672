"""Which TEE this machine is: every way to evidence is tried, in a fixed order, and one platform has to come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cloister.tee.collectors.collected import Collector, HardwarePlatform, NoTee, TeeDenied
from cloister.tee.collectors.configfs_tsm import PROVIDERS, REPORTS, ConfigfsTsm, tsm_provider
from cloister.tee.collectors.machine import Machine

Wanted = Literal["auto"] | HardwarePlatform


@dataclass(frozen=True, slots=True)
class Way:
    """One way to evidence: what is looked for, in words, and how its collector is opened.

    `open` raises NoTee where there is none, TeeDenied where this user may not look.
    """

    looks_for: str
    platforms: tuple[HardwarePlatform, ...]
    open: Callable[[Machine], Collector]


def open_collector(machine: Machine, wanted: Wanted = "auto") -> Collector:
    """The collector of the platform that this machine is, the first way to it; or of the one that is wanted.

    Raises:
        NoTee, TeeDenied: there is none, or there are two platforms; the sentence lists what was looked for.
        TeeUnavailable, TeeFault: there is one, and it does not serve.
    """
    found: list[tuple[Way, Collector]] = []
    missing: list[str] = []
    denied = False
    for way in (way for way in WAYS if wanted == "auto" or wanted in way.platforms):
        try:
            found.append((way, way.open(machine)))
        except (NoTee, TeeDenied) as error:
            missing.append(f"{way.looks_for}: {error}")
            denied = denied or isinstance(error, TeeDenied)
    found = [(way, collector) for way, collector in found if wanted in ("auto", collector.platform)]
    if not found:
        what = "TEE was found" if wanted == "auto" else f"way to evidence of {wanted} was found"
        raise (TeeDenied if denied else NoTee)("\n".join((f"no {what} here. Looked for:", *missing)))
    if len({collector.platform for _, collector in found}) > 1:
        both = "; ".join(f"{way.looks_for}: {collector.platform}" for way, collector in found)
        raise NoTee(f"this machine looks like more than one TEE ({both}): name the one that it is in place of auto")
    return found[0][1]


def _configfs_tsm(machine: Machine) -> Collector:
    provider = tsm_provider(machine)
    if provider is None:
        raise NoTee(
            "not there, or nothing behind it (kernel 6.7 or later, configfs mounted, sev-guest or tdx-guest loaded)"
        )
    if provider not in PROVIDERS:
        raise NoTee(f"its provider {provider[:40]} makes evidence that nothing here can judge")
    return ConfigfsTsm(machine, PROVIDERS[provider])


WAYS: Final = (Way(f"configfs-tsm at /{REPORTS}", ("snp", "tdx"), _configfs_tsm),)
