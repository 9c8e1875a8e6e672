"""The services of a local system: in which order they start, on which ports, with which settings."""

from __future__ import annotations

import socket
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from cloister.cli.local.keys import WITNESS_ML_DSA, LocalKeys, seed_path
from cloister.cli.local.terms import Found, origin_of, witness_name
from cloister.cli.local.toml import Table, toml
from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, ED25519, format_vkey
from cloister.hosting.loopback import LOOPBACK
from cloister.hosting.refused_port import refused_port

ROLES: Final = ("witness", "ledger", "kms", "gateway", "relay", "proxy")  # each needs only those before it
NODE: Final = "node"  # among the settings files: of `cloister node identity`
RELAY_ADMIN: Final = "relay-admin"  # among the ports: where the relay tells how it is, which its clients' port does not


@dataclass(frozen=True, slots=True)
class ServedLine:
    """The contract line that KMS and gateway serve, and the file of its entries."""

    digest: bytes  # of the first contract, 32 bytes
    file: Path


def url(port: int) -> str:
    """Where a service of this machine is."""
    return f"http://{LOOPBACK}:{port}"


def config_path(state: StateFolder, role: str) -> Path:
    """A service's settings file."""
    return state.config / f"{role}.toml"


def ready_path(state: StateFolder, role: str) -> Path:
    """Where a service announces that it serves."""
    return state.run / f"{role}.ready"


def log_path(state: StateFolder, role: str) -> Path:
    """What a service says."""
    return state.logs / f"{role}.log"


def last_ports(state: StateFolder) -> dict[str, int]:
    """The ports of the last start; empty where there was none."""
    try:
        return msgspec.json.decode(_ports_path(state).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def keep_ports(state: StateFolder, ports: Mapping[str, int]) -> None:
    """Keep the ports for the next start."""
    replace_file(_ports_path(state), msgspec.json.encode(ports))


def choose_ports(before: Mapping[str, int], *, proxy: int | None) -> dict[str, int]:
    """A port for each role, and for the relay's administration.

    The same as last time where it is free, so that clients need not be told anew.

    Raises:
        Unavailable, UsageError: the proxy's port, the one asked for or the one of last time, cannot be had.
    """
    ports: dict[str, int] = {}
    wanted = dict(before) if proxy is None else {**before, "proxy": proxy}
    for role in (*ROLES, RELAY_ADMIN):
        port = wanted.pop(role, 0)
        # Shells that know the proxy's port would send token and audio to whoever has it now: never changed unsaid.
        ports[role] = _free(port, taken={*ports.values(), *wanted.values()}, required=role == "proxy" and port != 0)
    return ports


def _ports_path(state: StateFolder) -> Path:
    return state.config / "ports.json"


def settings(
    state: StateFolder, keys: LocalKeys, served: ServedLine, found: Found, ports: Mapping[str, int]
) -> dict[str, Table]:
    """The settings of every role, as its TOML file has them."""
    log_key = format_vkey(origin_of(keys.log.public), keys.log.public, kind=ED25519)
    name = witness_name(keys.witness.public)
    witness = {
        "vkey": format_vkey(name, keys.witness.public, kind=COSIGNATURE_V1),
        "ml_dsa_vkey": format_vkey(name, keys.witness_ml_dsa.public, kind=COSIGNATURE_ML_DSA),
        "url": url(ports["witness"]),
    }
    platform = seed_path(state, "platform")
    tables: dict[str, dict[str, Any]] = {
        "witness": {
            "folder": state.data / "witness",
            "name": name,
            "key": seed_path(state, "witness"),
            "ml_dsa_key": seed_path(state, WITNESS_ML_DSA),
            "logs": [log_key],
        },
        "ledger": {
            "folder": state.data / "ledger",
            "origin": origin_of(keys.log.public),
            "key": seed_path(state, "log"),
            "quorum": 1,
            "witnesses": [witness],
        },
        "kms": {
            "ledger_urls": [url(ports["ledger"])],
            "constitution": state.constitutions,
            "contracts": [served.file],
            "platform_key": platform,
            "sealed_roots": state.data / "kms",
            "security": msgspec.structs.asdict(found.kms),
        },
        "gateway": {
            "kms_urls": [url(ports["kms"])],
            "contract": served.file,
            "platform_key": platform,
            "state": state.root,
            "run_folder": state.run / "engine",
            "engine": found.engine,
            "sandbox": found.sandbox,
            **({} if found.model is None else {"model": found.model}),
            "sizes": {name: size for name, size in msgspec.structs.asdict(found.sizes).items() if size is not None},
            "security": msgspec.structs.asdict(found.gateway),
        },
        "relay": {
            "bundle_urls": [f"{url(ports['kms'])}/bundles/{served.digest.hex()}"],
            "gateway_urls": [f"{url(ports['gateway'])}/gateway"],
            "admin_port": ports[RELAY_ADMIN],
            "client_rate": 5000,  # the one client is this machine's own proxy
            "client_burst": 10_000,
        },
        "proxy": {
            "relay_url": url(ports["relay"]),
            "trust_policy": state.trust_policy,
            "memory": state.memory,
            "token": state.token,
            "receipts": state.receipts,
        },
    }
    return {role: {"port": ports[role], "ready": ready_path(state, role)} | tables[role] for role in ROLES}


def node_settings(state: StateFolder, served: ServedLine, ports: Mapping[str, int]) -> Table:
    """The settings of a node for programs of others, which nobody starts here."""
    return {
        "kms_urls": [url(ports["kms"])],
        "contract": served.file,
        "platform_key": seed_path(state, "platform"),
    }


def write_settings(state: StateFolder, tables: Mapping[str, Table]) -> None:
    """Write every role's settings file."""
    for role, table in tables.items():
        head = f"# Settings of the {role} of this local system, written by cloister up at every start.\n"
        replace_file(config_path(state, role), (head + toml(table)).encode())


def _free(port: int, *, taken: Container[int], required: bool) -> int:
    """`port` if it can be had, else any."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if required:
                refused = refused_port(LOOPBACK, port, error)
                raise type(refused)(f"{refused}, with cloister up --port PORT") from error
            return _free(0, taken=taken, required=False)
        chosen: int = probe.getsockname()[1]
    return chosen if required or chosen not in taken else _free(0, taken=taken, required=False)
