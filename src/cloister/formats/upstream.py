"""What is run as an upstream: somebody else's server, how it is started and spoken with (docs/formats/upstream.md).

The file lies in the folder of the software that it describes, so it is measured with it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.record_file import parse_record_file

FILE: Final = "upstream.toml"
MAXIMUM_BYTES: Final = 64 * 1024
PLACEHOLDERS: Final = ("socket", "port", "model", "folder", "python")

Dialect = Literal["openai", "vllm", "llama.cpp", "whisper", "anthropic", "kserve"]
TranscriptionFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\Z")]
Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
Path = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9/_.{}-]{1,200}\Z")]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
Mebibytes = Annotated[int, msgspec.Meta(ge=1, le=2**24)]

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_NEEDED: Final = {"socket": "socket", "port": "port"}  # what a server has to be told, by where it listens


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A definition. Every key stands there; nothing is known of the software but what this says."""

    version: Literal[1]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}\Z")]
    dialect: Dialect
    listens: Literal["socket", "port"]  # a unix socket, or TCP on a loopback that nothing else is in
    command: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=128)]
    environment: Annotated[dict[Variable, Word], msgspec.Meta(max_length=64)]  # all that it has
    readiness: Path  # answers 200 once it can be asked
    models: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=16)]  # clients' names, the usual first
    model: Annotated[str, msgspec.Meta(max_length=256)]  # the server's own name of it; empty: what the client said
    paths: Annotated[tuple[Path, ...], msgspec.Meta(max_length=32)]  # of the dialect's; no others are opened
    prompt_cache: Literal["none", "asked"]  # whoever writes this knows that requests share none, or the start asks
    transcription_formats: Annotated[tuple[TranscriptionFormat, ...], msgspec.Meta(max_length=5)]  # that it has itself
    at_once: Annotated[int, msgspec.Meta(ge=1, le=256)]  # requests that it is given at the same time
    ready_seconds: Seconds  # to load
    silence_seconds: Seconds  # that it may take for the next byte of an answer
    answer_mib: Annotated[int, msgspec.Meta(ge=1, le=32)]
    memory_mib: Mebibytes  # beside the model's files
    scratch_mib: Mebibytes  # of that, for files in /tmp
    tasks: Annotated[int, msgspec.Meta(ge=1, le=65_536)]  # processes and threads
    open_files: Annotated[int, msgspec.Meta(ge=16, le=65_536)]

    def __post_init__(self) -> None:
        """Refuse what could not start.

        Raises:
            ValueError: an unknown placeholder, a program from elsewhere, or the command does not say where to listen.
        """
        used = self._used()
        if unknown := sorted(used & {name for name in used if name.isidentifier()} - set(PLACEHOLDERS)):
            raise ValueError(f"{{{unknown[0]}}} is no placeholder: there are {', '.join(PLACEHOLDERS)}")
        if self.command[0] != "{python}" and not self.command[0].startswith("{folder}/"):
            raise ValueError(
                f"{self.command[0]} is not measured: command begins with {{python}} or a program in {{folder}}"
            )
        if _NEEDED[self.listens] not in used:
            raise ValueError(f"neither command nor environment has {{{self.listens}}}, so the server listens elsewhere")
        if "text" in self.transcription_formats and "json" not in self.transcription_formats:
            raise ValueError("a server of transcriptions has json, of which clients' other formats are made")

    @property
    def names_model(self) -> bool:
        """Whether it says where the server finds the model that is filled in."""
        return "model" in self._used()

    def _used(self) -> set[str]:
        """Every name that stands in braces, placeholder or not."""
        texts = (*self.command, *self.environment.values(), self.model)
        return {name for text in texts for name in _PLACEHOLDER.findall(text)}

    def filled(self, text: str, places: dict[str, str]) -> str:
        """`text` with `places` for its placeholders; other braces, as of JSON, stay."""
        return _PLACEHOLDER.sub(lambda found: places.get(found[1], found[0]), text)


def parse_upstream(data: bytes) -> Upstream:
    """Parse a definition, at most 64 KiB of TOML.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: it is none; the sentence names the key, and the line where it or its table begins.
    """
    found = parse_record_file(data, Upstream, "an upstream's definition", limit=MAXIMUM_BYTES)
    if len(set(found.models)) != len(found.models):
        raise MalformedInput("not an upstream's definition: a name stands twice in models")
    return found
