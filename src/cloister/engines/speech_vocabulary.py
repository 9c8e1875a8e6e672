"""Words that the speech model lacks, as the model's owner writes them into its section: names, medicines, places.

A line has a word and how it is spoken, in the phones of the CMU dictionary without stress: `cloister K L OY S T ER`.
Empty lines, and what follows a `#`, say nothing.

Source: http://www.speech.cs.cmu.edu/cgi-bin/cmudict, "Phoneme Set".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from cloister.errors import MalformedInput

MAXIMUM_WORDS: Final = 4096
_WORD: Final = re.compile(r"[a-z][a-z'.-]{0,63}")
_PHONES: Final = frozenset(
    re.findall(
        "[A-Z]+",
        "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH",
    )
)


class Spoken(NamedTuple):
    """A word in lower case, and its phones with spaces between them."""

    word: str
    phones: str


def parse_vocabulary(data: bytes) -> tuple[Spoken, ...]:
    """The words in a vocabulary file.

    Raises:
        MalformedInput: a line is not a word and its phones, or there are more than 4,096; nothing of it is repeated.
    """
    try:
        lines = [line.partition("#")[0].split() for line in data.decode().splitlines()]
    except UnicodeDecodeError:
        raise MalformedInput("it is not UTF-8") from None
    found = [Spoken(line[0].lower(), " ".join(line[1:])) for line in lines if line]
    if len(found) > MAXIMUM_WORDS:
        raise MalformedInput(f"it has {len(found)} words, at most {MAXIMUM_WORDS} are taken")
    for number, line in enumerate(lines, start=1):
        if line and not (_WORD.fullmatch(line[0].lower()) and line[1:] and _PHONES.issuperset(line[1:])):
            raise MalformedInput(f"line {number} is not a word and its phones")
    return tuple(found)
