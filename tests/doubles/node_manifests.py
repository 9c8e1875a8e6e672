"""Node manifests to begin from, each good by itself."""

import msgspec

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
