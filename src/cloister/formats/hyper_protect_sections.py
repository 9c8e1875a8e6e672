"""Our sections to and from the text of IBM Hyper Protect's (docs/formats/hyper-protect.md).

IBM's text has parts that mean nothing here (container images, log servers, volumes). On the way in it is therefore kept
whole, as the section's file `hyper-protect.yaml`, beside the variables that were read from it; on the way out that file
is what goes, as long as it still says what the variables say.
"""

from __future__ import annotations

from typing import Final, Literal

from cloister.errors import UsageError
from cloister.formats.contract import SectionKind
from cloister.formats.hyper_protect_section import (
    HyperProtectSection,
    format_hyper_protect_section,
    parse_hyper_protect_section,
)
from cloister.formats.section import Section
from cloister.secret import SecretBytes

WHOLE: Final = "hyper-protect.yaml"
_TYPES: Final[dict[SectionKind, Literal["workload", "env"]]] = {"workload": "workload", "environment": "env"}


class NotExportable(UsageError):
    """A section has no equal in IBM's form; the sentence says why."""


def imported_section(text: SecretBytes, *, persona: str) -> Section:
    """Our section of a decrypted one of IBM's; raises as `parse_hyper_protect_section`."""
    read = parse_hyper_protect_section(text)
    kind: SectionKind = "workload" if read.type == "workload" else "environment"
    return Section(kind=kind, persona=persona, variables=dict(read.variables), files={WHOLE: text.reveal()})


def exported_text(section: Section, *, signing_key: str) -> SecretBytes:
    """IBM's text of our section; `signing_key` (PEM) stands in an environment's, and is empty for a workload's.

    Raises:
        NotExportable: it has files, or is of a kind, that IBM's form has not; or its text says other variables.
        MalformedInput: its text is not one of IBM's.
    """
    if section.kind not in _TYPES:
        raise NotExportable(f"a section of kind {section.kind} has no equal in IBM's contracts: workload, environment")
    if section.files.keys() - {WHOLE}:
        raise NotExportable(f"IBM's sections have no files; only {WHOLE}, a section as it was imported, is exported")
    if WHOLE not in section.files:
        read = HyperProtectSection(_TYPES[section.kind], section.variables, signing_key)
        return format_hyper_protect_section(read)
    text = SecretBytes(section.files[WHOLE])
    read = parse_hyper_protect_section(text)
    if (read.type, dict(read.variables)) != (_TYPES[section.kind], section.variables):
        raise NotExportable(
            f"{WHOLE} and the section's kind or variables say different things: change both, or drop one"
        )
    return text
