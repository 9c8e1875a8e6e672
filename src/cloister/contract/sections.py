"""Holds the sections that a node was given against the contract, and puts them together (docs/formats/section.md).

Who deposited each, for which contract, task and code, was examined before; here it is what is inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.contract import Asset, Contract
from cloister.formats.section import Section, parse_section
from cloister.secret import SecretBytes

SECTION_STEPS: Final = ("section.given", "section.form", "section.kind", "section.persona", "section.conflict")


class SectionsRefused(Refused):
    """The sections of a task do not fit the contract or each other: none of them is used."""


@dataclass(frozen=True, slots=True)
class VerifiedSections:
    """What all sections of a task give it together. Built only here."""

    variables: Mapping[str, SecretBytes]  # UTF-8, by the variable's name
    files: Mapping[str, SecretBytes]  # by relative path

    def __repr__(self) -> str:
        return f"<VerifiedSections: {len(self.variables)} variables, {len(self.files)} files>"


NO_SECTIONS: Final = VerifiedSections({}, {})  # of a contract that has none


def sections_of(contract: Contract, task: str) -> tuple[Asset, ...]:
    """The sections that `task` has a grant for."""
    return tuple(asset for asset in contract.granted(task, "secret") if asset.section != "none")


def examine_sections(
    values: Mapping[str, SecretBytes], contract: Contract, *, task: str
) -> Examination[VerifiedSections]:
    """Hold what owners deposited, by the asset's name, against what the contract says of the sections of `task`."""
    steps = Steps(SECTION_STEPS, SectionsRefused)
    assets = sections_of(contract, task)
    # 1. All of them or none: a task does not begin with a part of what its parties agreed to.
    missing = [asset.name for asset in assets if asset.name not in values]
    steps.check("section.given", not missing, f"not given: {', '.join(missing)}", found=f"{len(assets)} sections")
    if missing:
        return steps.stopped()
    # 2. Each is a section, …
    opened = steps.attempt(
        "section.form", lambda: [parse_section(values[asset.name]) for asset in assets], MalformedInput, TooLarge
    )
    if opened is None:
        return steps.stopped()
    pairs = list(zip(assets, opened, strict=True))
    # 3. … of the kind that the contract names for it, …
    kinds = [asset.name for asset, section in pairs if section.kind != asset.section]
    steps.check("section.kind", not kinds, f"of another kind than the contract says: {', '.join(kinds)}")
    # 4. … and written for the persona who owns it.
    personas = [asset.name for asset, section in pairs if section.persona != asset.owner]
    steps.check("section.persona", not personas, f"written for another persona: {', '.join(personas)}")
    # 5. No persona overrides another: who defined a thing twice is said, and never what it is called.
    conflicts = list(_conflicts(pairs))
    steps.check("section.conflict", not conflicts, "; ".join(conflicts))
    return steps.examined(lambda: _together(opened))


def overlapping(paths: Iterable[str]) -> bool:
    """Whether a file would have to be a folder too."""
    files = set(paths)
    return any(path[:at] in files for path in files for at, letter in enumerate(path) if letter == "/")


def _conflicts(pairs: list[tuple[Asset, Section]]) -> Iterable[str]:
    for at, (asset, section) in enumerate(pairs):
        if overlapping(section.files):
            yield f"{asset.name} has a file in place of a folder"
        for earlier, before in pairs[:at]:
            shared = len(section.variables.keys() & before.variables.keys())
            if shared:
                yield f"{earlier.name} and {asset.name} both define {shared} variables"
            if section.files.keys() & before.files.keys() or overlapping([*section.files, *before.files]):
                yield f"{earlier.name} and {asset.name} have files in one place"


def _together(sections: list[Section]) -> VerifiedSections:
    return VerifiedSections(
        {name: SecretBytes(value.encode()) for one in sections for name, value in one.variables.items()},
        {path: SecretBytes(content) for one in sections for path, content in one.files.items()},
    )
