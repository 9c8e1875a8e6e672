"""Which TEE this machine is: every way to evidence is tried, in a fixed order, and one platform has to come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import CloisterError
from cloister.tee.collectors.azure import LOOKS_FOR as AZURE
from cloister.tee.collectors.azure import open_azure
from cloister.tee.collectors.collected import Collector, HardwarePlatform, NoTee, TeeDenied, TeeFault, TeeUnavailable
from cloister.tee.collectors.configfs_tsm import PROVIDERS, REPORTS, ConfigfsTsm, tsm_provider
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nitro import DEVICE as NITRO
from cloister.tee.collectors.nitro import open_nitro
from cloister.tee.collectors.sev_guest import DEVICE as SEV_GUEST
from cloister.tee.collectors.sev_guest import open_sev_guest
from cloister.tee.collectors.tdx_guest import DEVICE as TDX_GUEST
from cloister.tee.collectors.tdx_guest import open_tdx_guest

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
    missing: list[tuple[str, CloisterError]] = []
    for way in (way for way in WAYS if wanted == "auto" or wanted in way.platforms):
        try:
            collector = way.open(machine)
        except (NoTee, TeeDenied, TeeFault, TeeUnavailable) as error:
            missing.append((way.looks_for, error))
        else:
            found += [(way, collector)] if wanted in ("auto", collector.platform) else []
    if not found:
        raise _nothing(wanted, missing)
    if len({collector.platform for _, collector in found}) > 1:
        both = "; ".join(f"{way.looks_for}: {collector.platform}" for way, collector in found)
        raise NoTee(f"this machine looks like more than one TEE ({both}): name the one that it is in place of auto")
    return found[0][1]


def _nothing(wanted: Wanted, missing: Sequence[tuple[str, CloisterError]]) -> CloisterError:
    """What to say: where a user may not look, or something does not serve, there might have been a TEE."""
    what = "TEE was found" if wanted == "auto" else f"way to evidence of {wanted} was found"
    said = "\n".join((f"no {what} here. Looked for:", *(f"{looked}: {error}" for looked, error in missing)))
    for kind in (TeeDenied, TeeUnavailable):
        if any(isinstance(error, kind) for _, error in missing):
            return kind(said)
    return NoTee(said)


def _configfs_tsm(machine: Machine) -> Collector:
    provider = tsm_provider(machine)
    if provider is None:
        raise NoTee(
            "not there, or nothing behind it (kernel 6.7 or later, configfs mounted, sev-guest or tdx-guest loaded)"
        )
    if provider not in PROVIDERS:
        raise NoTee(f"its provider {provider[:40]} makes evidence that nothing here can judge")
    return ConfigfsTsm(machine, PROVIDERS[provider])


WAYS: Final = (
    Way(f"configfs-tsm at /{REPORTS}", ("snp", "tdx"), _configfs_tsm),
    Way(AZURE, ("azure-snp", "azure-tdx"), open_azure),
    Way(f"the Nitro Security Module at /{NITRO}", ("nitro",), open_nitro),
    Way(f"/{SEV_GUEST}", ("snp",), open_sev_guest),
    Way(f"/{TDX_GUEST}", ("tdx",), open_tdx_guest),
)
