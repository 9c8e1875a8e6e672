"""What each role needs on a machine of its own: its settings, its keys, and the signed entries that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from cloister.cli.local import roles
from cloister.cli.local.keys import WITNESS_ML_DSA, seed_path
from cloister.cli.local.toml import Table, toml
from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.errors import UsageError
from cloister.hosting.loopback import LOOPBACK
from cloister.hosting.tls import require_private

CALLERS: Final = {"witness": ("ledger",), "ledger": ("kms",), "kms": ("gateway", "relay", "kms"), "gateway": ("relay",)}
CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"  # each machine's own; nothing here makes them
HTTPS_PORT = 443
GRACE_SECONDS = 15  # for long answers in flight; the systemd units allow 20 for a stop
_OF_ONE_MACHINE: Final = frozenset(
    {"ready", "admin_port", "client_rate", "client_burst"}
)  # settings that make sense there only


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where one role is."""

    url: str  # as the other roles call it: https://kms.example:7103
    address: str = LOOPBACK  # that it listens on, an IP address


class Machines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table for each role, and where things are on every machine."""

    witness: Machine
    ledger: Machine
    kms: Machine | Annotated[tuple[Machine, ...], msgspec.Meta(min_length=1, max_length=16)]  # a list: its instances
    gateway: Machine
    relay: Machine
    proxy: Machine
    etc: Annotated[str, msgspec.Meta(pattern="^/")] = "/etc/cloister"  # a role's folder lies in it
    lib: Annotated[str, msgspec.Meta(pattern="^/")] = "/var/lib"  # a role keeps its data in cloister-ROLE below it
    run: Annotated[str, msgspec.Meta(pattern="^/")] = "/run"  # and sockets in cloister-ROLE below this

    def of(self, role: str) -> tuple[Machine, ...]:
        """Where the role is: one machine, or one for each instance of the KMS."""
        placed: Machine | tuple[Machine, ...] = getattr(self, role)
        return (placed,) if isinstance(placed, Machine) else placed

    def folders(self) -> dict[str, Machine]:
        """Every machine by the name of its role's folder."""
        return {_folder(role, place): one for role in roles.ROLES for place, one in enumerate(self.of(role))}


def read_machines(path: Path) -> Machines:
    """The machines in the TOML file at `path`.

    Raises:
        UsageError: it cannot be read, is not such a file, or a URL would go over a network in the clear.
    """
    try:
        machines = msgspec.toml.decode(path.read_bytes(), type=Machines)
    except OSError as error:
        raise UsageError(f"the machines {path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not say where each role is: {error}") from error
    for role, url in [(name, machine.url) for name in roles.ROLES for machine in machines.of(name)]:
        _port(url)
        if role != "proxy" and not _secure(url):
            raise UsageError(f"{url}, of the {role}, is not https: on machines of their own, roles speak TLS only")
    return machines


@dataclass(frozen=True, slots=True)
class Deployment:
    """The folders of all roles, from what a state folder has signed."""

    machines: Machines
    state: StateFolder
    tables: Mapping[str, Table]  # as for this machine alone
    contracts: Path  # the entries of the contract that is served

    def write(self, target: Path) -> None:
        """Write a folder for each role below `target`: its settings, and copies of the files that they name.

        A second instance of the KMS has the folder `kms2`, and so on.
        """
        for role, place in self._places():
            folder = target / _folder(role, place)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, source in self._files(role).items():
                replace_file(folder / name, source.read_bytes())
            etc = self._etc(role, place)
            head = f"# Settings of the {role}, made by cloister machines prepare; its folder is {etc}.\n"
            replace_file(folder / f"{role}.toml", (head + toml(self.table(role, place))).encode())

    def table(self, role: str, place: int = 0) -> dict[str, Any]:
        """A role's settings on its machine, the one at `place` among those of the role."""
        own = {name: value for name, value in self.tables[role].items() if name not in _OF_ONE_MACHINE}
        machine = self.machines.of(role)[place]
        placed = {"port": _port(machine.url), "address": machine.address}
        etc = self._etc(role, place)
        return own | placed | self._paths(role, etc) | self._others(role, place) | self._tls(role, machine, etc)

    def _places(self) -> list[tuple[str, int]]:
        return [(role, place) for role in roles.ROLES for place in range(len(self.machines.of(role)))]

    def _files(self, role: str) -> dict[str, Path]:
        """The files that `role` reads, by their names in its folder."""
        seeds = {"witness": "witness", "ledger": "log", "kms": "platform", "gateway": "platform"}
        files = {f"{seeds[role]}.seed": seed_path(self.state, seeds[role])} if role in seeds else {}
        if role == "witness":
            files[f"{WITNESS_ML_DSA}.seed"] = seed_path(self.state, WITNESS_ML_DSA)
        if role == "kms":
            files["constitution.entries"] = self.state.constitutions
        if role in ("kms", "gateway"):
            files["contract.entries"] = self.contracts
        if role == "proxy":
            files["trust-policy.toml"] = self.state.trust_policy
        return files

    def _paths(self, role: str, etc: Path) -> dict[str, Any]:
        lib, run = Path(self.machines.lib) / f"cloister-{role}", Path(self.machines.run)
        contract = etc / "contract.entries"
        paths: dict[str, dict[str, Any]] = {
            "witness": {"folder": lib, "key": etc / "witness.seed", "ml_dsa_key": etc / f"{WITNESS_ML_DSA}.seed"},
            "ledger": {"folder": lib, "key": etc / "log.seed"},
            "kms": {
                "constitution": etc / "constitution.entries",
                "contracts": [contract],
                "platform_key": etc / "platform.seed",
                "sealed_roots": lib,
            },
            "gateway": {
                "contract": contract,
                "platform_key": etc / "platform.seed",
                "state": lib,
                "run_folder": run / "cloister-gateway" / "engine",
                "grace_seconds": GRACE_SECONDS,
            },
            "relay": {"grace_seconds": GRACE_SECONDS},
            "proxy": {
                "trust_policy": etc / "trust-policy.toml",
                "memory": lib / "client-memory",
                "token": etc / "tokens",
                "receipts": lib / "receipts",
                "grace_seconds": GRACE_SECONDS,
            },
        }
        return paths[role]

    def _others(self, role: str, place: int) -> dict[str, Any]:
        """Where `role` finds those that it calls."""
        machines = self.machines
        instances = [machine.url for machine in machines.of("kms")]
        bundle_path = urlsplit(self.tables["relay"]["bundle_urls"][0]).path
        witnesses = [witness | {"url": machines.witness.url} for witness in self.tables["ledger"]["witnesses"]]
        found: dict[str, dict[str, Any]] = {
            "ledger": {"witnesses": witnesses},
            "kms": {
                "ledger_urls": [machines.ledger.url],
                "replicas": [url for number, url in enumerate(instances) if number != place],
            },
            "gateway": {"kms_urls": instances},
            "relay": {
                "bundle_urls": [f"{url}{bundle_path}" for url in instances],
                "gateway_urls": [f"{machines.gateway.url}/gateway"],
            },
            "proxy": {"relay_url": machines.relay.url},
        }
        return found.get(role, {})

    def _tls(self, role: str, machine: Machine, etc: Path) -> dict[str, Any]:
        """Who the service shows itself as, and who must show themselves to it. Nobody asks a client who it is."""
        shown = {"certificate": etc / CERTIFICATE, "key": etc / KEY}
        authority = etc / AUTHORITY
        known = {"client_ca": authority, "clients": CALLERS[role]} if role in CALLERS else {}
        found: dict[str, Any] = {"writers": CALLERS[role]} if role == "ledger" else {}
        if role == "proxy":
            found["relay_ca"] = authority
        if _secure(machine.url):
            found["tls"] = shown | known
        if role not in ("witness", "proxy"):
            found["peers"] = {"ca": authority} | shown
        return found

    def _etc(self, role: str, place: int) -> Path:
        return Path(self.machines.etc) / _folder(role, place)


def _folder(role: str, place: int) -> str:
    return role if place == 0 else f"{role}{place + 1}"


def _port(url: str) -> int:
    """The port of a URL of the form https://host:port.

    Raises:
        UsageError: it is not of that form, or in the clear and not of one machine alone.
    """
    require_private(url)
    try:
        parts = urlsplit(url)
        port = parts.port or HTTPS_PORT
    except ValueError as error:
        raise UsageError(f"{url} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise UsageError(f"{url} is not of the form https://host:port")
    return port


def _secure(url: str) -> bool:
    return url.startswith("https://")
