"""Cloister: confidential AI whose chain of trust every client checks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloister.client.transport import async_transport, transport

__all__ = ["async_transport", "transport"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are used: a service or an engine needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cloister.client import transport as transports  # noqa: PLC0415

    return getattr(transports, name)
