"""Sections: what one persona alone gives a task, variables and files, as it is sealed (docs/formats/section.md).

A section is the value of a deposit (`formats.custody`), so what it is meant for stands in the seal, and not in here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.canonical import Name
from cloister.formats.contract import SectionKind
from cloister.formats.custody import MAXIMUM_VALUE
from cloister.secret import SecretBytes

MAXIMUM_SECTION: Final = MAXIMUM_VALUE  # bytes, encoded: 64 KiB
MAXIMUM_VARIABLES: Final = 256
MAXIMUM_FILES: Final = 64
_ITEMS: Final = 16 + 2 * (MAXIMUM_VARIABLES + MAXIMUM_FILES)

VariableName = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]
VariableValue = Annotated[str, msgspec.Meta(max_length=32_768, pattern=r"^[^\x00]*\Z")]
# Relative, and no segment begins with a dot or a hyphen: nothing climbs, hides or reads as an option.
FilePath = Annotated[
    str, msgspec.Meta(max_length=255, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*\Z")
]
FileContent = Annotated[bytes, msgspec.Meta(max_length=MAXIMUM_SECTION)]
Variables = Annotated[dict[VariableName, VariableValue], msgspec.Meta(max_length=MAXIMUM_VARIABLES)]
Files = Annotated[dict[FilePath, FileContent], msgspec.Meta(max_length=MAXIMUM_FILES)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a persona gives a task. All of it is secret, the names too."""

    version: Literal[1] = 1
    kind: SectionKind
    persona: Name  # the party whose section it is
    variables: Variables
    files: Files

    def __repr__(self) -> str:
        return f"<Section: {self.kind}, {len(self.variables)} variables, {len(self.files)} files>"


def parse_section(data: SecretBytes) -> Section:
    """Parse what was deposited as a section, at most 64 KiB.

    Raises:
        TooLarge, MalformedInput: it is none; of what is in it nothing is repeated, not even by a decoder's own words.
    """
    try:
        return canonical.decode(data.reveal(), Section, limit=MAXIMUM_SECTION, items=_ITEMS)
    except MalformedInput:
        raise MalformedInput("what was deposited as a section is none (docs/formats/section.md)") from None


def encode_section(section: Section) -> SecretBytes:
    """What is deposited.

    Raises:
        TooLarge: over 64 KiB.
        MalformedInput: it has names, paths or numbers of them that no section may have, and no node would take.
    """
    encoded = SecretBytes(canonical.encode(section))
    if len(encoded) > MAXIMUM_SECTION:
        raise TooLarge(f"a section of {len(encoded)} bytes, the cap is {MAXIMUM_SECTION}")
    parse_section(encoded)
    return encoded
