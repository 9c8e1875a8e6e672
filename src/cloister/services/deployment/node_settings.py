"""A node's settings on this machine: those that its role takes, and whose paths this machine allows."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from cloister.errors import Unavailable, UsageError
from cloister.formats.node_manifest import TELLS_ELSEWHERE, Node
from cloister.formats.toml_text import toml_text
from cloister.hosting.settings import BadSettings, load
from cloister.services.places import SERVICES, imported


class PathDenied(UsageError):
    """A setting names a path that is in none of the folders which this machine allows."""


def read_settings(node: Node) -> Any:
    """The settings record of the node's role, with the node's first port.

    Raises:
        BadSettings: the role takes no such settings; the sentence names the node, and lines of its settings.
        UsageError: this install lacks a library that the role needs.
        Unavailable: there is no room for a temporary file.
    """
    record: type[Any] = imported(node.role, SERVICES[node.role].settings)
    given = _given(record, node, node.ports[0] if node.ports else 0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"settings of {node.name}"
            path.write_text(node.settings, encoding="utf-8")
            return load(record, service=node.role, config=path, environ={}, flags=given)
    except BadSettings as error:
        raise BadSettings([str(error).replace(f"{folder}/", "").replace("settings file ", "")]) from error
    except OSError as error:
        raise Unavailable(f"settings of {node.name} cannot be looked at: {error}") from error


def require_allowed(node: Node, folders: Sequence[Path], *, own: Path) -> None:
    """Hold a node's settings against its role, and each path that they name against the allowed `folders`.

    Args:
        node: whose settings they are.
        folders: where paths may lead, symbolic links followed.
        own: the deployment API's own folder, which is in none of them for this purpose.

    Raises:
        UsageError: names the node and what is wrong.
    """
    for name, path in _paths(read_settings(node), ""):
        real = Path(os.path.realpath(path))
        allowed = [folder for folder in folders if real.is_relative_to(os.path.realpath(folder))]
        if not path.is_absolute() or not allowed or real.is_relative_to(os.path.realpath(own)):
            named = ", ".join(map(str, folders)) or "none"
            raise PathDenied(
                f"settings of {node.name}: {name}: {path} is in no folder that this machine allows: {named}"
            )


def rendered(node: Node, port: int, *, ready: Path) -> bytes:
    """The settings file of the process of `node` that listens on `port`."""
    record: type[Any] = imported(node.role, SERVICES[node.role].settings)
    head = {
        name: str(value) if isinstance(value, Path) else value for name, value in _given(record, node, port).items()
    }
    return (toml_text(head | {"ready": str(ready)}, comment=lambda _: "") + node.settings).encode()


def health_url(node: Node, port: int) -> str:
    """Where the process of `node` that listens on `port` tells how it is."""
    settings = read_settings(node)
    if node.role in TELLS_ELSEWHERE:
        return f"http://127.0.0.1:{node.health_port(port)}"
    scheme, host = ("http", settings.address) if settings.tls is None else ("https", node.host or settings.address)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _given(record: type[Any], node: Node, port: int) -> dict[str, Any]:
    """The settings that the manifest's own fields make."""
    known = {field.name for field in dataclasses.fields(record)}
    given: dict[str, Any] = {"port": port}
    if "grace_seconds" in known:
        given["grace_seconds"] = float(node.drain_seconds)
    if node.role in TELLS_ELSEWHERE and node.ports:
        given["admin_port"] = node.health_port(port)
    return given


def _sockets(text: str) -> Iterator[str]:
    """The paths of unix sockets in what may be the address of a service or a database."""
    if text.startswith("unix:"):
        yield text.removeprefix("unix:")
    elif text.startswith("postgresql:"):
        yield from (host for key, host in parse_qsl(urlsplit(text).query) if key == "host" and host.startswith("/"))


def _paths(value: Any, name: str) -> Iterator[tuple[str, Path]]:
    """Every path in a settings record, by the name of its setting."""
    inner: Mapping[Any, Any] = {}
    if isinstance(value, Path):
        yield name, value
    elif isinstance(value, str):
        yield from ((name, Path(path)) for path in _sockets(value))
    elif isinstance(value, msgspec.Struct):
        inner = msgspec.structs.asdict(value)
    elif dataclasses.is_dataclass(value):
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        inner = value
    elif isinstance(value, tuple | list):
        inner = dict(enumerate(value))
    for key, one in inner.items():
        yield from _paths(one, f"{name}.{key}" if name else str(key))
