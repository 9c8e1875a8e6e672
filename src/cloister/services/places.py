"""Where each service is, by its name. Nothing of one is imported before it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cloister.errors import UsageError
from cloister.formats.node_manifest import MEASURED
from cloister.tee.launch import measured_python


class Place(NamedTuple):
    """Where a service's settings record and its `run(settings)` are."""

    settings: str
    run: str


SERVICES: Final[Mapping[str, Place]] = {
    "witness": Place("cloister.services.witness.settings:WitnessSettings", "cloister.services.witness.service:run"),
    "ledger": Place("cloister.services.ledger.settings:LedgerSettings", "cloister.services.ledger.service:run"),
    "kms": Place("cloister.services.kms.settings:KmsSettings", "cloister.services.kms.service:run"),
    "gateway": Place("cloister.services.gateway.settings:GatewaySettings", "cloister.services.gateway.service:run"),
    "verifier": Place("cloister.services.verifier.settings:VerifierSettings", "cloister.services.verifier.service:run"),
    "relay": Place("cloister.services.relay.settings:RelaySettings", "cloister.services.relay.service:run"),
    "proxy": Place("cloister.services.proxy.settings:ProxySettings", "cloister.services.proxy.service:run"),
    "deployment": Place(
        "cloister.services.deployment.settings:DeploymentSettings", "cloister.services.deployment.service:run"
    ),
}


def command_of(service: str, *arguments: str) -> list[str]:
    """The command line of a service. What measures itself loads no bytecode; others start in a third of the time."""
    python = measured_python() if service in MEASURED else [sys.executable, "-I"]
    return [*python, "-m", "cloister", "service", service, *arguments]


def imported(service: str, place: str) -> Any:
    """What stands at `place`, of a service.

    Raises:
        UsageError: this install lacks a library that the service needs.
    """
    try:
        return found(place)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("cloister"):
            raise
        raise UsageError(
            f"the service {service} needs {error.name}, which this install lacks; on Linux: pip install"
            " 'cloister[node]'"
        ) from error


def found(place: str) -> Any:
    """What stands at `module:name`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
