"""A model's tokens to text that can be told: whole characters, up to a stop string, and why it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from cloister.engines.text_model import TextModel

Finish = Literal["stop", "length"]
_CUT = "�"  # what a decoder writes for bytes that are no character, yet or ever
_LONGEST_CHARACTER = 4  # tokens to wait for the rest of a character: it has four bytes at most


class AnswerText:
    """Iterate over it once for the pieces of text, each as early as it is certain; then ask how it ended.

    A piece is held back while its last character is not whole, or while it could be the beginning of a stop string. The
    model is asked for no more tokens once a stop string is there.
    """

    def __init__(self, model: TextModel, tokens: Iterator[int], stops: Sequence[str], *, special: bool = False) -> None:
        self.finish: Finish = "length"
        self.count = 0  # tokens made, the one that ended it included
        self._model = model
        self._tokens = tokens
        self._stops = stops
        self._special = special
        self._held = ""
        self._made: list[int] = []
        self._from = 0  # of `_made`: what is decoded again, since a token's text hangs on the one before
        self._told = 0  # of `_made`: how many are text already

    def __iter__(self) -> Iterator[str]:
        """The pieces, none of them empty."""
        for token in self._tokens:
            self.count += 1
            if token in self._model.ends:
                self.finish = "stop"
                break
            self._made.append(token)
            self._held += self._new_text(last=False)
            if (at := self._stop()) is not None:
                self.finish = "stop"
                yield from self._give(at)
                return
            yield from self._give(len(self._held) - self._beginning_of_a_stop())
        self._held += self._new_text(last=True)
        at = self._stop()
        yield from self._give(len(self._held) if at is None else at)

    def _new_text(self, *, last: bool) -> str:
        before = self._model.text(self._made[self._from : self._told], special=self._special)
        now = self._model.text(self._made[self._from :], special=self._special)
        waiting = len(self._made) - self._told < _LONGEST_CHARACTER
        if not last and now.endswith(_CUT) and waiting:
            return ""
        self._from, self._told = self._told, len(self._made)
        return now[len(before) :]

    def _stop(self) -> int | None:
        """Where the first stop string begins."""
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        return min(found, default=None)

    def _beginning_of_a_stop(self) -> int:
        """How many of the last characters could be the beginning of one."""
        for size in range(min(len(self._held), max(map(len, self._stops), default=0)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0

    def _give(self, size: int) -> Iterator[str]:
        piece, self._held = self._held[:size], self._held[size:]
        if piece:
            yield piece
