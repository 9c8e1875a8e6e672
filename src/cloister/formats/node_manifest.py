"""Node manifests: which services an operator has run on which machines (docs/formats/node-manifest.md).

A manifest is one revision of a deployment. Revisions are numbered and each names the one before by its digest, so that
a machine takes them in one order and each once.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, get_args

import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Count, Name

CONTENT_TYPE: Final = "application/vnd.cloister.node-manifest+cbor"  # of the COSE_Sign1 that carries one
MAXIMUM_MANIFEST: Final = 512 * 1024  # bytes, encoded
MAXIMUM_SIGNED: Final = MAXIMUM_MANIFEST + 1024
MAXIMUM_SETTINGS: Final = 64 * 1024  # characters of TOML
MAXIMUM_REVISIONS: Final = 32  # in one request: the newest, and those before it that a machine has missed
MAXIMUM_SENT: Final = 8 * 1024 * 1024  # bytes of such a request

Role = Literal["witness", "ledger", "kms", "verifier", "gateway", "relay", "proxy"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
MEASURED: Final = frozenset({"kms", "gateway"})  # roles whose workload evidence shows
TELLS_ELSEWHERE: Final = frozenset({"relay"})  # roles that say how they are on a port of their own
GIVEN: Final = frozenset({"port", "admin_port", "ready", "grace_seconds"})  # settings that a manifest says elsewhere

NodeName = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z][a-z0-9-]*\Z")]
Host = Annotated[str, msgspec.Meta(max_length=253, pattern=r"^[A-Za-z0-9.:-]*\Z")]
NodePort = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
NodePorts = Annotated[tuple[NodePort, ...], msgspec.Meta(max_length=32)]
Wait = Annotated[int, msgspec.Meta(ge=1, le=3600)]  # seconds
Workload = Annotated[bytes, msgspec.Meta(max_length=48)]  # SHA-384, or empty
SettingsText = Annotated[str, msgspec.Meta(max_length=MAXIMUM_SETTINGS, pattern=r"^[^\x00]*\Z")]
Link = Annotated[bytes, msgspec.Meta(max_length=32)]  # SHA-256, or empty


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Processes of one role on one machine, all with the same settings but for where they listen."""

    name: NodeName
    machine: Name  # by the name in its deployment API's settings
    role: Role
    replicas: Annotated[int, msgspec.Meta(ge=0, le=16)]  # 0: drained
    ports: NodePorts  # that they listen on; with one more than `replicas`, a new one starts before an old one ends
    health_ports: NodePorts  # of a relay: where each tells how it is, in the order of `ports`; of others none
    host: Host  # the name in their certificate, where it is not the address that they listen on; else empty
    workload: Workload  # what a kms or gateway has to measure; of other roles empty
    generation: Count  # raised to have all of them started anew though nothing else has changed
    ready_seconds: Wait  # from a start until it has to be ready
    drain_seconds: Wait  # for requests in flight when one is told to end
    settings: SettingsText  # the role's, TOML, without those in `GIVEN`

    def health_port(self, port: int) -> int:
        """Where the process that listens on `port` tells how it is."""
        return self.health_ports[self.ports.index(port)] if self.health_ports else port

    def spec(self) -> bytes:
        """SHA-256 over all that a running process depends on: one with another is replaced."""
        bare = msgspec.structs.replace(self, replicas=0, ports=(), health_ports=(), ready_seconds=1)
        return hashlib.sha256(canonical.encode(bare)).digest()


class NodeManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One revision. Its signature is not checked yet."""

    version: Literal[1] = 1
    deployment: Name
    number: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    previous: Link  # the digest of the revision before; empty in number 1
    restores: Count  # the number of the older revision whose nodes these are; 0 where they are new
    nodes: Annotated[tuple[Node, ...], msgspec.Meta(max_length=64)]

    def digest(self) -> bytes:
        """SHA-256 of the encoding: how the next revision names this one, whoever signed it."""
        return hashlib.sha256(canonical.encode(self)).digest()

    def of(self, machine: str) -> tuple[Node, ...]:
        """The nodes of one machine, in the order in which they are started."""
        return tuple(node for node in self.nodes if node.machine == machine)


class SentRevisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request to a deployment API: signed revisions in their order, of which the last is to be applied."""

    revisions: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SIGNED)], ...],
        msgspec.Meta(min_length=1, max_length=MAXIMUM_REVISIONS),
    ]


def parse_node_manifest(data: bytes) -> NodeManifest:
    """Parse a manifest, at most 512 KiB.

    Raises:
        TooLarge, MalformedInput: it is none, or makes no sense by itself; the sentence names the node.
    """
    manifest = canonical.decode(data, NodeManifest, limit=MAXIMUM_MANIFEST)
    require_form(manifest)
    return manifest


def parse_sent_revisions(data: bytes) -> tuple[bytes, ...]:
    """Parse a request with revisions, at most 8 MiB; none of them is looked into.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return canonical.decode(data, SentRevisions, limit=MAXIMUM_SENT).revisions


def require_form(manifest: NodeManifest) -> None:
    """Hold a manifest against what its types cannot say.

    Raises:
        MalformedInput: names what is wrong.
    """
    wrong = next(_wrong(manifest), None)
    if wrong is not None:
        raise MalformedInput(f"not a node manifest: {wrong}")


def _wrong(manifest: NodeManifest) -> Iterator[str]:
    if len(manifest.previous) != (0 if manifest.number == 1 else 32):
        yield "number 1 has no previous revision, and every other names its digest of 32 bytes"
    if manifest.restores >= manifest.number:
        yield f"revision {manifest.number} restores revision {manifest.restores}, which is no older one"
    yield from (f"two nodes are named {name}" for name in _twice([node.name for node in manifest.nodes]))
    for machine in sorted({node.machine for node in manifest.nodes}):
        ports = [port for node in manifest.of(machine) for port in (*node.ports, *node.health_ports)]
        yield from (f"port {port} of {machine} is given twice" for port in _twice(ports))
    for node in manifest.nodes:
        yield from (f"node {node.name}: {one}" for one in _wrong_with(node))


def _wrong_with(node: Node) -> Iterator[str]:
    if node.replicas > len(node.ports):
        yield f"{node.replicas} replicas need as many ports, and it has {len(node.ports)}"
    if len(node.health_ports) != (len(node.ports) if node.role in TELLS_ELSEWHERE else 0):
        yield "health_ports has one for each of ports where the role is relay, and none for any other role"
    if len(node.workload) not in ((0, 48) if node.role in MEASURED else (0,)):
        yield "workload has 48 bytes, or none; only a kms or a gateway is measured"
    yield from _wrong_settings(node.settings)


def _wrong_settings(text: str) -> Iterator[str]:
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        yield f"settings are not TOML: {error}"
        return
    for name in sorted(GIVEN & table.keys()):
        yield f"settings have {name}, which comes from the manifest's own keys (ports, health_ports, drain_seconds)"


def _twice(values: Sequence[str | int]) -> list[str | int]:
    return [value for value, count in Counter(values).items() if count > 1]
