"""Why an engine ended before it served: an exit status, since all that it says in words goes to nowhere.

So whoever wrote the model's files is told what is wrong, and nothing of a model's or a client's content leaves by it.
"""

from __future__ import annotations

from typing import Final

UNSERVABLE: Final = 119
FAILED: Final = 120
NOT_STARTED: Final = 121  # an upstream
NOT_READY: Final = 122  # an upstream
SHARED: Final = 123  # an upstream
UNTESTED: Final = 124  # an upstream
CASES: Final = 32  # and the number of the case that was failed, from 1 on
_MOST_CASES: Final = 64
_WORDS: Final = {
    UNSERVABLE: "its model is none that it serves: a file is missing, damaged or of another kind"
    " (docs/howto/engines.md says what it takes)",
    FAILED: "its self-test fails: the model computes, and not what it should (docs/formats/selftest.md)",
    NOT_STARTED: "its server's program could not be started (command in upstream.toml)",
    SHARED: "its server shares a prompt cache among requests, or nothing shows that it does not: see prompt_cache in"
    " upstream.toml (docs/formats/upstream.md)",
    UNTESTED: "nothing shows that its model computes as it should: what it speaks has no question that every model"
    " answers, so selftest.json has to ask (docs/formats/selftest.md)",
    NOT_READY: "its server ended, or was not ready in the ready_seconds of upstream.toml",
}


def words_of(status: int) -> str | None:
    """What an exit status says; None where it is none of these."""
    if 0 < status - CASES <= _MOST_CASES:
        return f"its model fails case {status - CASES} of selftest.json (docs/formats/selftest.md)"
    return _WORDS.get(status)
