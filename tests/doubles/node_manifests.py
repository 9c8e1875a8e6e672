"""Node manifests to begin from, each good by itself."""

import msgspec

from cloister.formats.deployment_state import DeploymentState, Event, NodeState, RevisionState
from cloister.formats.node_manifest import Node, NodeManifest

replace = msgspec.structs.replace

MANIFEST_FILE = """\
deployment = "speech"

[[nodes]]
name = "watcher"
machine = "alpha"
role = "witness"
replicas = 1
ports = [7101, 7111]
health_ports = []
host = ""
workload = ""
generation = 0
ready_seconds = 30
drain_seconds = 5

[nodes.settings]
folder = "/var/lib/cloister-witness"
name = "witness.example/one"
key = "/etc/cloister/witness/witness.seed"
logs = []
limits = { connections = 64, head_seconds = 2.5 }

[[nodes]]
name = "gate"
machine = "beta"
role = "gateway"
replicas = 2
ports = [7104, 7114, 7124]
health_ports = []
host = "gateway.example"
workload = "%s"
generation = 3
ready_seconds = 60
drain_seconds = 20
settings = "gateway.toml"
""" % ("ab" * 48)


def sample_node(**changed):
    """A witness on the machine alpha, with these fields instead."""
    node = Node(
        name="watcher",
        machine="alpha",
        role="witness",
        replicas=1,
        ports=(7101, 7111),
        health_ports=(),
        host="",
        workload=b"",
        generation=0,
        ready_seconds=30,
        drain_seconds=5,
        settings='folder = "/var/lib/cloister-witness"\n',
    )
    return replace(node, **changed)


def sample_manifest(*nodes, **changed):
    """The first revision of a deployment with these nodes, or with one."""
    manifest = NodeManifest(deployment="speech", number=1, previous=b"", restores=0, nodes=nodes or (sample_node(),))
    return replace(manifest, **changed)


def sample_state():
    """A machine on which that revision is in force."""
    node, manifest = sample_node(), sample_manifest()
    return DeploymentState(
        deployment="speech",
        machine="alpha",
        first=1,
        working=False,
        revisions=(
            RevisionState(
                number=1,
                digest=manifest.digest().hex(),
                signer="ab" * 32,
                restores=0,
                standing="in force",
                at=1,
                said="",
            ),
        ),
        nodes=(
            NodeState(
                name="watcher/7101",
                node="watcher",
                role="witness",
                port=7101,
                health_port=7101,
                spec=node.spec().hex(),
                workload="",
                revision=1,
                pid=100,
                phase="not ready",
                missing="it does not answer",
                since=1,
                restarts=2,
            ),
        ),
        events=(Event(number=1, at=1, says="revision 1 is in force"),),
    )
