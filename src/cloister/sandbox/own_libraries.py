"""The folder of an engine's own libraries, beside the environment that the services run in.

A service measures every file that it could import. What an engine alone needs lies outside of that: it is staged,
and the engine's digest names it (docs/decisions/0057-engines-have-libraries-of-their-own.md). The folder is flat, as
`pip install --target` makes it, and stands before the environment on the engine's path, so that an environment with
everything in it serves, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from cloister.sandbox.requirements import NotInstalled, installed, needs, required

SERVICES: Final = "node"  # the extra of what services and their engines share


def own_folder(extra: str) -> Path:
    """Where the libraries of the engines with this extra are, if they are installed by themselves."""
    return Path(sys.prefix, "engines", extra)


def search_path(extra: str) -> list[str]:
    """The folders in which an engine's distributions are looked for, in order."""
    return list(sys.path) if extra == SERVICES else [str(own_folder(extra)), *sys.path]


def installing(engine: str, extra: str, *, again: bool = False) -> str:
    """The command that installs what an engine needs, `again` where it is there and damaged."""
    services = f"pip install {'--force-reinstall ' if again else ''}'cloister[node]'"
    return services if extra == SERVICES else f"cloister engine install {engine}"


def requirements_of(extra: str) -> list[Requirement]:
    """What an extra of this Cloister adds to it, by its own metadata, without markers.

    Raises:
        NotInstalled: Cloister is not, only its source is here.
    """
    cloister = installed("cloister", sys.path)
    always = needs(cloister, [""])
    added = [one for one in needs(cloister, [extra]) if one not in always]
    for one in added:
        one.marker = None  # it holds here
    return added


def lacking(extra: str) -> list[str]:
    """What an extra's own folder lacks of what this Cloister requires there; nothing where it is whole.

    Raises:
        NotInstalled: Cloister is not, only its source is here.
    """
    folder = [str(own_folder(extra))]
    return [str(one) for one in requirements_of(extra) if not _is_whole(one, folder)]


def _is_whole(wanted: Requirement, path: list[str]) -> bool:
    """Whether a requirement is met with all that it requires in turn; their versions fit, as pip resolved them."""
    try:
        required([str(wanted)], path)
        version = installed(wanted.name, path).version
    except NotInstalled:
        return False
    return wanted.specifier.contains(version, prereleases=True)
