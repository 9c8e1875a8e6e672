"""Answers that imitate a chat model's, token by token: of two topics, of texts that are in this repository.

Prose is from the threat model and the decisions, code from the formats. Both are cut into pieces as long as a model's
tokens are; answers of code are longer. Each is a function of its number, so that every level of privacy is shown the
same ones. The parts for training and for testing share no text.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TOPICS: Final = ("prose", "code")
SOURCES: Final = {"prose": ("docs/threat-model.md", "docs/decisions/*.md"), "code": ("src/cloister/formats/*.py",)}
# What byte-pair encodings do to text: words with the space before, long ones in parts, runs of spaces, signs alone.
TOKEN: Final = re.compile(r" ?[A-Za-z]{1,7}|\d{1,3}|\n+ *| +|[^\sA-Za-z\d]")
TRAINING: Final = 0.6  # of each text, from its beginning
TOKENS_PER_SECOND: Final = 40
LENGTHS: Final = {"prose": 44, "code": 70}  # tokens, the median; log-normal with a sigma of 0.3, at most 100
LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """One stream: server-sent events, and the seconds before each."""

    topic: int
    events: tuple[bytes, ...]
    pauses: tuple[float, ...]


@cache
def tokens(topic: str, part: str) -> tuple[str, ...]:
    """Of one topic, for training or for testing."""
    paths = sorted(path for pattern in SOURCES[topic] for path in ROOT.glob(pattern))
    found = TOKEN.findall("\n".join(path.read_text() for path in paths))
    border = int(len(found) * TRAINING)
    return tuple(found[:border] if part == "train" else found[border:])


def answer(part: str, number: int, *, longer: float = 1.0) -> Answer:
    """The answer of that number; odd ones are code. `longer` times as many tokens as a short one has."""
    topic = number % 2
    chance = random.Random(f"{part} {number}")
    text = tokens(TOPICS[topic], part)
    count = int(min(LONGEST, LENGTHS[TOPICS[topic]] * chance.lognormvariate(0, 0.3)) * longer)
    start = chance.randrange(len(text) - count)
    pauses = [chance.uniform(0.05, 0.3)]  # until the first token
    pauses += [chance.lognormvariate(0, 0.4) / TOKENS_PER_SECOND / 1.08 for _ in range(count - 1)]
    events = [_event({"content": token}) for token in text[start : start + count]]
    return Answer(topic, (*events, b"data: [DONE]\n\n"), (*pauses, 0.0))


def _event(delta: dict[str, str]) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    head = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1_800_000_000, "model": "m"}
    return b"data: " + json.dumps(head | {"choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"
