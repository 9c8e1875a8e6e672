"""A local system from its state folder to its running services."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloister.cli.code_changes import started_with
from cloister.cli.down import stop as stop_processes
from cloister.cli.ledger_access import LedgerAccess
from cloister.cli.line_access import LineAccess
from cloister.cli.local import roles
from cloister.cli.local.agreed import Agreed, keep_agreed, read_agreed, require_fit
from cloister.cli.local.fit import Here
from cloister.cli.local.keys import LocalKeys, make_token, open_keys
from cloister.cli.local.measurement import (
    Measurement,
    keep_manifest,
    measure_in_child,
)
from cloister.cli.local.model_key import deposit_model_key
from cloister.cli.local.settings import LocalSettings
from cloister.cli.local.signed_files import read_signed
from cloister.cli.local.supervisor import START_SECONDS, Role, Say, Supervisor
from cloister.cli.local.terms import (
    Found,
    Genesis,
    Terms,
    amended,
    first_terms,
    found_by,
    genesis_of,
    line_of,
    sign_genesis,
    trust_policy,
    what_changed,
)
from cloister.cli.local.toml import Table
from cloister.cli.state_folder import StateFolder
from cloister.cli.system_record import DamagedRecord, Phase, RoleRecord, SystemRecord, recorded_processes, write_record
from cloister.client.durable import replace_file
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.errors import UsageError
from cloister.examination import Examination
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import TrustPolicy, format_trust_policy
from cloister.hosting.processes import name_of
from cloister.ohttp.privacy import Privacy
from cloister.secret import SecretBytes
from cloister.services.gateway.engine_choice import engine_named
from cloister.services.places import command_of
from cloister.tee.launch import ENVIRONMENT
from cloister.tee.software import SENTENCE
from cloister.trust.bundle import VerifiedBundle

POLICY_COMMENT = """What this machine's client insists on before it encrypts. Written by cloister up for its own system.
Its terms are in docs/formats/trust-policy.md."""
SHOWN_FILES = 3


class AlreadyRunning(UsageError):
    """A system of this state folder runs."""


@contextlib.contextmanager
def exclusive(state: StateFolder) -> Iterator[None]:
    """Hold the state folder for this process alone; what a supervisor that was killed left behind is ended first.

    Raises:
        AlreadyRunning: another process holds it.
    """
    state.prepare()
    with (state.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"a Cloister system of {state.root} runs already: {state.command('status')} shows it,"
                f" {state.command('down')} ends it"
            ) from error
        # The lock is ours, so that the supervisor of a record that cannot be read has ended, and with it its services.
        with contextlib.suppress(DamagedRecord):
            stop_processes(recorded_processes(state))
        yield


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is decided before anything starts."""

    state: StateFolder
    keys: LocalKeys
    terms: Terms
    found: Found
    ports: dict[str, int]
    agreed: Agreed | None  # the contract that is served in place of the one of `terms`
    privacy: Privacy  # of what the proxy asks

    @property
    def served(self) -> roles.ServedLine:
        """The contract line that KMS and gateway serve."""
        if self.agreed is None:
            return roles.ServedLine(line_of(self.terms), self.state.contracts)
        return roles.ServedLine(self.agreed.line, self.state.agreed)

    @property
    def trust_policy(self) -> TrustPolicy:
        """What this machine's client insists on."""
        return trust_policy(self.terms, line=self.served.digest)

    @property
    def base_url(self) -> str:
        """What OpenAI clients are pointed at."""
        return f"{roles.url(self.ports['proxy'])}/v1"

    @property
    def relay_url(self) -> str:
        """What clients of ours are pointed at."""
        return roles.url(self.ports["relay"])

    def tables(self) -> dict[str, Table]:
        """The settings of every role."""
        tables = roles.settings(self.state, self.keys, self.served, self.found, self.ports)
        return tables | {"proxy": {**tables["proxy"], "privacy": self.privacy}}

    def node_table(self) -> Table:
        """The settings of `cloister node identity` beside this system."""
        return roles.node_settings(self.state, self.served, self.ports)


def prepare(
    state: StateFolder,
    settings: LocalSettings,
    say: Say,
    *,
    clock: Callable[[], float],
    measured: Measurement | None = None,
    contract: Sequence[Path] = (),
) -> Prepared:
    """Make keys, measure, sign what must be signed, and write the services' settings.

    `measured` is what was found on another machine, where the roles are to run there; `contract` are the files of one
    that parties signed, to be served from now on.

    Raises:
        CloisterError: this machine or folder cannot hold the system, or the contract does not fit it; in a sentence.
    """
    before, agreed = read_signed(state), read_agreed(state, contract)
    keys = open_keys(state)
    ports = _ports(state, settings, say)
    if measured is None:
        say("measuring what will run")
    measurement = measured or measure_in_child(state, settings.engine, settings.model, settings.held)
    found, at = found_by(measurement, settings), int(clock())
    if agreed is not None:
        require_fit(agreed, Here(_genesis(before, state), keys.platform.public, found), at=at)
    terms = _terms(before, keys, found, measurement.differences(started_with(state)), say, at=at)
    if agreed is not None:
        say(f"serving {agreed.last.name}, contract {_short(agreed.line)}, in place of one of its own")
    prepared = Prepared(state, keys, terms, found, ports, agreed, settings.privacy)
    _keep_signed(prepared)
    keep_manifest(state, measurement)
    roles.write_settings(state, prepared.tables() | {roles.NODE: prepared.node_table()})
    return prepared


def _genesis(before: Terms | Genesis | None, state: StateFolder) -> bytes:
    """The digest of the first constitution, which a contract that others wrote has named.

    Raises:
        UsageError: there is none yet.
    """
    if before is None:
        raise UsageError(
            f"{state.root} has no KMS yet that a contract could name: {state.command('up')} makes one, then its parties"
            " write the contract for it (cloister contract new)"
        )
    return before.constitution.digest() if isinstance(before, Genesis) else genesis_of(before)


def _terms(
    before: Terms | Genesis | None, keys: LocalKeys, found: Found, files: list[str], say: Say, *, at: int
) -> Terms:
    """The terms that name what was found: the first ones, or those of before with successors where they do not."""
    if isinstance(before, Terms):
        terms = before
    else:
        if before is not None:
            say("a first start ended before everything was signed: going on from the genesis that it left")
        terms = first_terms(keys, found, before or sign_genesis(keys, found), at=at)
        _tell_signed(terms, say)
    changed = what_changed(terms, keys, found, at=at)
    after = amended(terms, keys, found, at=at)
    if changed:
        say(_tell_amended(terms, after, changed, files))
    return after


def _ports(state: StateFolder, settings: LocalSettings, say: Say) -> dict[str, int]:
    """The ports, and a new token where the proxy's is another: whoever has the old port is told no token of ours."""
    before = roles.last_ports(state)
    ports = roles.choose_ports(before, proxy=settings.port)
    old, new = before.get("proxy", ports["proxy"]), ports["proxy"]
    make_token(state, anew=old != new)  # first: a start that ends here makes yet another, never keeps the old one
    if old != new:
        say(f"the proxy moved from port {old} to {new} and has a new token: evaluate cloister env again in every shell")
    roles.keep_ports(state, ports)
    return ports


def _keep_signed(prepared: Prepared) -> None:
    # Each rests on the one before: what is missing after a start that was killed is made anew.
    state, terms, policy = prepared.state, prepared.terms, prepared.trust_policy
    replace_file(state.constitutions, encode_list(terms.constitutions))
    replace_file(state.contracts, encode_list(terms.contracts))
    if prepared.agreed is not None:
        keep_agreed(state, prepared.agreed, policy, own=trust_policy(terms), comment=POLICY_COMMENT)
    elif not state.trust_policy.exists():
        replace_file(state.trust_policy, format_trust_policy(policy, comment=POLICY_COMMENT).encode())


def _tell_signed(terms: Terms, say: Say) -> None:
    constitution, contract = terms.constitution, terms.contract
    kms, gateway = constitution.kms, contract.serving.nodes[0]
    task, model = contract.serving, contract.assets[0]
    engine = task.engine
    endpoints = ", ".join(f"{endpoint.method} {endpoint.path}" for endpoint in task.endpoints)
    say("signed in the open, with this machine's own keys of a model owner and an operator:")
    say(f"  constitution {_short(constitution.digest())}")
    say(
        f"    KMS: code {_short(kms.workloads[0])}, settings {_short(kms.settings[0])}; "
        f"log {constitution.log.origin}, 1 witness; notice 0"
    )
    say(f"  contract {_short(contract.digest())}")
    say(f"    gateway: code {_short(gateway.workloads[0])}, settings {_short(gateway.settings[0])}, {endpoints}")
    say(f"    engine {engine.name} {_short(engine.digest)}, model {model.name} {_short(model.digest)}")
    say(f"    sandbox {_short(task.sandbox.profiles[0])}; notice 0")
    say(f"  accepted by name in both: UnsafeAllowSoftwareTee ({SENTENCE})")


def _tell_amended(before: Terms, after: Terms, changed: list[str], files: list[str]) -> str:
    names = list(changed)
    if "code" in names and files:
        more = f" and {len(files) - SHOWN_FILES} more" if len(files) > SHOWN_FILES else ""
        names[names.index("code")] = f"code ({', '.join(files[:SHOWN_FILES])}{more})"
    new = [
        f"{word} {successor.sequence} ({_short(successor.digest())})"
        for word, first, successor in (
            ("constitution", before.constitution, after.constitution),
            ("contract", before.contract, after.contract),
        )
        if first != successor
    ]
    return f"changed since last time: {', '.join(names)}; signed with both keys, notice 0: {' and '.join(new)}"


def _short(digest: bytes) -> str:
    return f"{digest.hex()[:16]}…"


@dataclass(slots=True)
class System:
    """The services of a prepared system."""

    prepared: Prepared
    say: Say
    phase: Phase = "starting"
    model_key: SecretBytes | None = None  # of a sealed model, to be deposited for its owner, who is this machine's too
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(ENVIRONMENT, self.say, self._write)

    async def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            RoleFailed, RoleSlow: something did not come up. Call `stop` then, too.
        """
        self.say("starting")
        started = {name: self._role(name) for name in roles.ROLES}
        await self.supervisor.start([started.pop("witness")])
        if self.model_key is not None:
            # Before the node asks: what it is refused stands in the log, and it asks again after a while only.
            await self.supervisor.start([started.pop("ledger"), started.pop("kms")])
            found, owner = self.prepared.found, self.prepared.keys.model_owner
            await deposit_model_key(self._line(), found.model_name, self.model_key, owner, self.say)
        await self.supervisor.start(list(started.values()))

    def tell_ready(self) -> None:
        """Let the other commands know that everything is as it should be."""
        self.phase = "ready"
        self._write()

    async def examine(self) -> Examination[VerifiedBundle]:
        """Examine the system as its own client, through its own relay."""
        async with self.session() as session:
            return await session.examine()

    def session(self) -> Session:
        """A client's session with the system."""
        policy = self.prepared.trust_policy
        memory = MemoryFile(self.prepared.state.memory, genesis=policy.constitution)
        return Session(policy, memory, Relay(self.prepared.relay_url))

    async def stop(self) -> None:
        """End everything."""
        self.phase = "stopping"
        self._write()
        await self.supervisor.stop()
        with contextlib.suppress(FileNotFoundError):
            (self.prepared.state.run / "system.json").unlink()

    def _line(self) -> LineAccess:
        """The contract line that is served, as one of its parties speaks about it."""
        prepared = self.prepared
        state, ports, policy = prepared.state, prepared.ports, prepared.trust_policy
        ledger = LedgerAccess(roles.url(ports["ledger"]), None, prepared.terms.constitutions[0], state)
        memory = MemoryFile(state.trust_policy.with_name("party-memory"), genesis=policy.constitution)
        return LineAccess(ledger, policy, memory, roles.url(ports["kms"]))

    def _role(self, name: str) -> Role:
        state, ports = self.prepared.state, self.prepared.ports
        loading = engine_named(self.prepared.found.engine).ready_seconds
        return Role(
            name=name,
            command=command_of(name, "--config", str(roles.config_path(state, name))),
            port=ports[name],
            log=roles.log_path(state, name),
            announces=roles.ready_path(state, name),
            health_port=ports[roles.RELAY_ADMIN if name == "relay" else name],
            start_seconds=START_SECONDS + (loading if name in ("gateway", "relay") else 0),
        )

    def _write(self) -> None:
        own = name_of(os.getpid())
        assert own is not None
        record = SystemRecord(
            phase=self.phase,
            supervisor=own,
            relay_url=self.prepared.relay_url,
            base_url=self.prepared.base_url,
            roles=tuple(
                RoleRecord(
                    name=role.name,
                    port=role.port,
                    process=role.named,
                    ready=role.ready,
                    missing=role.missing,
                    restarts=role.restarts,
                    log=str(role.log),
                    health_port=role.health_port,
                )
                for role in self.supervisor.roles
            ),
        )
        write_record(self.prepared.state, record)
