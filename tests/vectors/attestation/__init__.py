"""Recorded evidence of real machines, judged by the code that users run.

The cases are listed by the cases.json files under `$CLOISTER_VECTORS/attestation` (by default `../shared/vectors`, seen
from the repository's root); CASES.md there says how to read them. Each vendor's module beside this file has

* `KINDS`: for each kind of case a function that judges one under a strict appraisal, relaxed by exactly what the case
  says, and returns the ids of the steps that failed (none: accepted). It raises `WrongFact` where the case's facts are
  not what the evidence says;
* `REASONS`: pairs of a regular expression and a step's id. Where the expression is found in a case's reason to reject
  it, that step must be among those that failed;
* `MEANING`, where it has one: of a file's path and bytes what is judged; nothing, if no verdict rests on the file.
  tests/fuzz/evidence.py changes the files; those that mean the same are no mutants of each other.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cloister.errors import MalformedInput, Refused, TooLarge

MALFORMED = "malformed"  # in place of a step's id: the evidence did not even parse


class WrongFact(Exception):
    """The evidence was read otherwise than its case says."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a cases.json."""

    id: str
    kind: str
    data: dict[str, Any]  # everything that the file says of it
    folder: Path  # its vendor's
    root: Path  # the folder of all vendors

    def read(self, path: str) -> bytes:
        """A file that the case names: below its vendor's folder, or below the root if it begins with a folder there."""
        below = self.root if (self.root / Path(path).parts[0]).is_dir() else self.folder
        return (below / path).read_bytes()

    @property
    def at(self) -> int:
        """When the case is judged, in seconds since 1970."""
        return int(datetime.fromisoformat(self.data["evaluate_at"]).timestamp())

    @property
    def relax(self) -> frozenset[str]:
        """What the case is judged without."""
        return frozenset(self.data["relax"])

    @property
    def reason(self) -> str | None:
        """Why it is to be rejected; nothing where it is to be accepted."""
        expect = self.data["expect"]
        return None if expect["verdict"] == "accept" else str(expect.get("reason", ""))


Judge = Callable[[Case], list[str]]
Reasons = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one case was judged; `right` is nothing where no module judges its kind."""

    case: Case
    right: bool | None
    sentence: str


def folder() -> Path:
    """Where the vendors' folders are, whether it exists or not."""
    default = Path(__file__).parents[4] / "shared/vectors"
    return Path(os.environ.get("CLOISTER_VECTORS", default)) / "attestation"


def cases() -> list[Case]:
    """Every case that is listed, in the order of the folders' names and of their files."""
    return [
        Case(data["id"], data["kind"], data, listing.parent, folder())
        for listing in sorted(folder().glob("*/cases.json"))
        for data in json.loads(listing.read_text())["cases"]
    ]


def judges() -> dict[str, tuple[Judge, Reasons]]:
    """Every kind that a vendor's module beside this file judges, with the reasons that the vendor's module knows."""
    kinds: dict[str, tuple[Judge, Reasons]] = {}
    for found in pkgutil.iter_modules(__path__):
        if not found.name.startswith(("_", "test_")):
            module = importlib.import_module(f"{__name__}.{found.name}")
            for kind, judge in getattr(module, "KINDS", {}).items():
                kinds[kind] = judge, getattr(module, "REASONS", ())
    return kinds


def require_facts(case: Case, found: Mapping[str, object]) -> None:
    """Hold every fact of the case against what was `found` in its evidence.

    Raises:
        WrongFact: one is another, or is none that is read.
    """
    for name, value in case.data.get("facts", {}).items():
        if name not in found:
            raise WrongFact(f"the fact {name} is not read")
        if found[name] != value:
            raise WrongFact(f"{name} is {found[name]}, not {value}")


def judged(case: Case, kinds: Mapping[str, tuple[Judge, Reasons]]) -> Judgement:
    """Judge one case, and the judgement: whether the verdict is right, and by the check that its reason names."""
    if case.kind not in kinds:
        return Judgement(case, None, f"not judged: no module judges the kind {case.kind}")
    judge, reasons = kinds[case.kind]
    try:
        failed = judge(case)
    except WrongFact as error:
        return Judgement(case, False, str(error))
    except Refused as error:
        failed = [error.check]
    except (MalformedInput, TooLarge):
        failed = [MALFORMED]
    verdict = f"rejected by {', '.join(failed)}" if failed else "accepted"
    if case.reason is None:
        return Judgement(case, not failed, verdict if not failed else f"{verdict}, and is to be accepted")
    return _rejected(case, case.reason, failed, verdict, reasons)


def _rejected(case: Case, reason: str, failed: list[str], verdict: str, reasons: Reasons) -> Judgement:
    if not failed:
        return Judgement(case, False, f"accepted, and is to be rejected: {reason}")
    named = [step for pattern, step in reasons if re.search(pattern, reason)]
    missed = [step for step in named if step not in failed]
    if missed:
        return Judgement(case, False, f"{verdict}, not by {', '.join(missed)}: {reason}")
    return Judgement(case, True, verdict if named else f"{verdict}; its reason names no step that we know: {reason}")
