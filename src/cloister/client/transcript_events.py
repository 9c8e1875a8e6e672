"""The events of a streamed transcription, as they arrive: words to hand on, the whole text at the end.

Source: https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event; the framing is that of
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_EVENT = 1024 * 1024  # bytes; a whole text of 30 minutes is a twentieth of it
_END_OF_LINE = re.compile(rb"\r\n|\n|\r(?=[^\n])")  # a CR at the very end may yet be followed by its LF

_HEARD = re.compile(
    rb": heard (\d{1,6}\.\d{2}) of (\d{1,6}\.\d{2}) s"
)  # our engines' comment (docs/formats/http-apis.md)


class _Error(msgspec.Struct):
    message: str


class _Event(msgspec.Struct):
    type: str = ""
    delta: str = ""
    text: str = ""
    error: _Error | None = None


class TranscriptEvents:
    """Feed it what arrives. `text` is there once the last event came, `trouble` if the service broke off in words."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.trouble = ""
        self.heard = self.duration = 0.0  # seconds of the audio, so far and in all; 0 where the service does not say
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """The words that `data` completes, in order.

        Raises:
            TooLarge: an event of more than 1 MiB.
            MalformedInput: an event that is none of a transcription.
        """
        return [delta for line in self._lines(data) for delta in self._line(line)]

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = _END_OF_LINE.split(self._rest + data)
        if len(self._rest) > MAXIMUM_EVENT:
            raise TooLarge(f"a line of more than {MAXIMUM_EVENT} bytes in an event stream")
        yield from lines

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            yield from self._event(b"\n".join(self._data))
            self._data, self._size = [], 0
            return
        if progress := _HEARD.fullmatch(line):
            self.heard, self.duration = map(float, progress.groups())
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > MAXIMUM_EVENT:
                raise TooLarge(f"an event of more than {MAXIMUM_EVENT} bytes")

    def _event(self, data: bytes) -> Iterator[str]:
        if not data or data == b"[DONE]":
            return
        try:
            event = msgspec.json.decode(data, type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedInput("an event that is none of a transcription") from error
        if event.error is not None:
            self.trouble = event.error.message
        elif event.type == "transcript.text.delta":
            yield event.delta
        elif event.type == "transcript.text.done":
            self.text = event.text
