"""Published vectors of logs and signed objects, judged by the code that users run, as far as there is any.

The sets are folders under `$CLOISTER_VECTORS/ledger` (by default `../shared/vectors`, seen from the repository's
root); SOURCES.md there says where each is from and what it shows. Each module beside this file has `SETS`: for a
folder's path below `ledger` a function that finds the folder's cases by its structure, never by their names, so that
cases that come later are judged too. Judging a case returns what was found in words, or raises

* `Wrong`: the verdict is not the source's;
* `NotJudged`: no format of ours, or the trust root is not here. Such a case never counts as passed.

A folder that no module claims is not judged either, and said so, file by file.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import CloisterError


class Wrong(Exception):
    """The verdict is not the one that the case's source states."""


class NotJudged(Exception):
    """Nothing here can say; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its name below its set, and what judges it."""

    name: str
    judge: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one case was judged; `right` is nothing where it was not."""

    name: str  # the set's path, and the case's below it
    right: bool | None
    sentence: str


Set = Callable[[Path], Iterable[Case]]


def folder() -> Path:
    """Where the sets are, whether it exists or not."""
    default = Path(__file__).parents[4] / "shared/vectors"
    return Path(os.environ.get("CLOISTER_VECTORS", default)) / "ledger"


def sets() -> dict[str, Set]:
    """Every folder that a module beside this file judges, by its path below `folder()`."""
    claimed: dict[str, Set] = {}
    for found in pkgutil.iter_modules(__path__):
        if not found.name.startswith(("_", "test_")):
            claimed.update(importlib.import_module(f"{__name__}.{found.name}").SETS)
    return claimed


def cases() -> dict[str, Case]:
    """Every case of every set, by its whole name."""
    root, claimed = folder(), sets()
    found = {f"{name}/{case.name}": case for name, judge in claimed.items() for case in _cases(root / name, judge)}
    return found | {case.name: case for case in _unclaimed(root, claimed)}


def judged(name: str, case: Case) -> Judgement:
    """Judge one case."""
    try:
        return Judgement(name, True, case.judge())
    except NotJudged as reason:
        return Judgement(name, None, str(reason))
    except Wrong as error:
        return Judgement(name, False, str(error))
    except (CloisterError, ValueError, KeyError, OSError) as error:
        return Judgement(name, False, f"{type(error).__name__}: {error}")


def verdict(action: Callable[[], object], *refusals: type[Exception], accept: bool) -> str:
    """Run what accepts or raises one of `refusals`, and hold that against what the case is to be.

    Raises:
        Wrong: it is the other.
    """
    try:
        action()
    except refusals as error:
        if accept:
            raise Wrong(f"refused, and is to be accepted: {error}") from error
        return f"refused: {error}"
    if not accept:
        raise Wrong("accepted, and is to be refused")
    return "accepted"


def skip(reason: str) -> Callable[[], str]:
    """What judges a case that cannot be judged."""

    def judge() -> str:
        raise NotJudged(reason)

    return judge


def _cases(path: Path, judge: Set) -> Iterator[Case]:
    if path.is_dir():
        yield from judge(path)


def _unclaimed(root: Path, claimed: Mapping[str, Set]) -> Iterator[Case]:
    for path in sorted(root.glob("*/**/*")):
        name = str(path.relative_to(root))
        if path.is_file() and not any(name.startswith(f"{known}/") for known in claimed):
            yield Case(name, skip("no module judges this set"))
