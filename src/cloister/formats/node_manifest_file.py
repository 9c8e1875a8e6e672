"""Node manifests as an operator writes them: TOML, a table for each node (docs/formats/node-manifest.md).

Number and previous revision are not in the file: they are those that follow what the machines have.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.canonical import Count, Name
from cloister.formats.node_manifest import Host, Node, NodeName, NodePorts, Role, Wait, Workload
from cloister.formats.record_file import no_comment, parse_record_file
from cloister.formats.toml_text import toml_text

MAXIMUM_MANIFEST_FILE: Final = 512 * 1024  # bytes


class NodeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node, in the shape that a person writes; see `Node`."""

    name: NodeName
    machine: Name
    role: Role
    replicas: Annotated[int, msgspec.Meta(ge=0, le=16)]
    ports: NodePorts
    health_ports: NodePorts
    host: Host
    workload: Workload
    generation: Count
    ready_seconds: Wait
    drain_seconds: Wait
    settings: Any  # a table, or text: the path of a settings file, from the manifest's own folder

    def node(self, settings: str) -> Node:
        """The node with this TOML as its settings.

        Raises:
            MalformedInput: the settings are too long.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__} | {"settings": settings}
        try:
            return msgspec.convert(fields, Node, strict=True, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise MalformedInput(f"node {self.name}: {error}") from error


class ManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A manifest without its place among the revisions."""

    deployment: Name
    nodes: Annotated[tuple[NodeFile, ...], msgspec.Meta(max_length=64)]


def parse_manifest_file(data: bytes) -> ManifestFile:
    """Parse a manifest file, at most 512 KiB of TOML.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: it is none; the sentence names the key, and the line where it or its table begins.
    """
    found = parse_record_file(data, ManifestFile, "a node manifest", limit=MAXIMUM_MANIFEST_FILE)
    for node in found.nodes:
        if isinstance(node.settings, Mapping):
            settings_text(node)
        elif not isinstance(node.settings, str):
            raise MalformedInput(f"not a node manifest: node {node.name}: settings are a table, or the path of a file")
    return found


def settings_text(node: NodeFile) -> str:
    """The settings that stand in the manifest itself, as a file of their own would have them.

    Raises:
        MalformedInput: they hold something that no setting is, as a time of day.
    """
    try:
        text = toml_text(node.settings, comment=no_comment)
        same = tomllib.loads(text) == node.settings
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise MalformedInput(f"not a node manifest: node {node.name}: settings hold a value that no setting has")
    return text
