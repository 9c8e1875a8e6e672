"""Sections as a persona writes them: TOML, with texts as they are and other files in hexadecimal digits.

Such a file is plaintext, its owner's alone; what is sealed is the record in `formats.section`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.canonical import Name
from cloister.formats.contract import SectionKind
from cloister.formats.record_file import format_record_file, parse_record_file
from cloister.formats.section import MAXIMUM_FILES, FilePath, Files, Section, Variables
from cloister.secret import SecretBytes

MAXIMUM_SECTION_FILE: Final = 256 * 1024  # bytes; hexadecimal digits take twice the room, escapes up to six times


class SectionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section, in the shape that a person writes."""

    kind: SectionKind
    persona: Name
    variables: Variables
    text_files: Annotated[dict[FilePath, str], msgspec.Meta(max_length=MAXIMUM_FILES)]  # UTF-8
    binary_files: Files

    def __repr__(self) -> str:
        return f"<SectionFile: {self.kind}>"


def parse_section_file(data: SecretBytes) -> Section:
    """Parse a section's file, at most 256 KiB of TOML.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: no section; the sentence names the key, and the line where it or its table begins, and no value.
    """
    found = parse_record_file(data.reveal(), SectionFile, "a section", limit=MAXIMUM_SECTION_FILE)
    if found.text_files.keys() & found.binary_files.keys():
        raise MalformedInput("not a section: a file stands both in text_files and in binary_files")
    if len(found.text_files) + len(found.binary_files) > MAXIMUM_FILES:
        raise MalformedInput(f"not a section: more than {MAXIMUM_FILES} files")
    texts = {path: text.encode() for path, text in found.text_files.items()}
    return Section(kind=found.kind, persona=found.persona, variables=found.variables, files=texts | found.binary_files)


def format_section_file(section: Section, *, comment: Callable[[Sequence[str]], str]) -> SecretBytes:
    """The TOML of `section`; `comment` gives the words above a key by its path."""
    texts = {path: text for path, content in section.files.items() if (text := _text(content)) is not None}
    file = SectionFile(
        kind=section.kind,
        persona=section.persona,
        variables=section.variables,
        text_files=texts,
        binary_files={path: content for path, content in section.files.items() if path not in texts},
    )
    return SecretBytes(format_record_file(file, comment=comment).encode())


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
