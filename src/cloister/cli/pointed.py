"""The variables that point a program's OpenAI client at a proxy of this machine."""

from __future__ import annotations

from collections.abc import Mapping

from cloister.hosting.loopback import LOOPBACK


def pointed(own: Mapping[str, str], base_url: str, key: str) -> dict[str, str]:
    """What is to be set over the environment `own`.

    OPENAI_API_BASE is the older name, which some libraries read first. A web proxy of the environment would be sent
    the requests in the clear, also those for the loopback address: so none is used for that.
    """
    direct = {name: _with_loopback(own.get(name, "")) for name in ("NO_PROXY", "no_proxy")}
    return {"OPENAI_BASE_URL": base_url, "OPENAI_API_BASE": base_url, "OPENAI_API_KEY": key} | direct


def _with_loopback(hosts: str) -> str:
    listed = [host for host in hosts.split(",") if host]
    return ",".join(listed if LOOPBACK in listed else [*listed, LOOPBACK])
