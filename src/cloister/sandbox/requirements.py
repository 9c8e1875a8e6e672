"""Which distributions a requirement brings along, by what those that are installed say of themselves.

Source: PEP 508, PEP 685; the core metadata's Requires-Dist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name


class NotInstalled(LookupError):
    """A distribution that is required is not there; the words are its name."""


def installed(name: str, path: Sequence[str]) -> metadata.Distribution:
    """The distribution of that name in the first folder of `path` that has it.

    Raises:
        NotInstalled: none has.
    """
    for found in metadata.distributions(name=name, path=list(path)):
        return found
    raise NotInstalled(name)


def required(requirements: Iterable[str], path: Sequence[str]) -> frozenset[NormalizedName]:
    """The names of all distributions that `requirements` need in the folders of `path`, their own included.

    An extra is followed where somebody on the way asks for it; a requirement whose marker does not hold here is not.
    Versions are what is installed: whoever installed them has resolved them.

    Raises:
        NotInstalled: one is not.
    """
    found: dict[NormalizedName, set[str]] = {}  # with the extras of it that are asked for
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *map(canonicalize_name, wanted.extras)}
        if fresh := extras - found.setdefault(name, set()):
            found[name] |= fresh
            waiting += needs(installed(name, path), fresh)
    return frozenset(found)


def needs(distribution: metadata.Distribution, extras: Iterable[str]) -> list[Requirement]:
    """What a distribution says that it requires here with any of `extras`; `""` is none."""
    parsed = [Requirement(text) for text in distribution.requires or []]
    return [
        one for one in parsed if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
    ]
