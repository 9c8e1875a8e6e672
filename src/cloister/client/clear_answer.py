"""Answers that are not sealed: anyone on the way can have written them, so they decide little and are never shown."""

from __future__ import annotations

from cloister.client.relay import RelayReply, RelayUnavailable
from cloister.errors import MalformedInput, TooLarge
from cloister.hosting import problem
from cloister.ohttp.encapsulation import PROBLEM_TYPE


class KeyNotHeld(RelayUnavailable):
    """The gateway does not open requests to the key of the newest bundle."""


class TooManyRequests(RelayUnavailable):
    """This client asks for more than its share; `retry_seconds` says when there is more again."""

    status = 429

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"the relay takes no more of this client's requests now; ask again in {retry_seconds} s")
        self.retry_seconds = retry_seconds


def is_key_problem(reply: RelayReply) -> bool:
    """Whether it says that the gateway did not open the request; to ask once more costs nothing but time."""
    found = _problem(reply)
    return found is not None and found.type == PROBLEM_TYPE


def _problem(reply: RelayReply) -> problem.Problem | None:
    if reply.media_type != problem.MEDIA_TYPE:
        return None
    try:
        return problem.parse(reply.body)
    except (MalformedInput, TooLarge):
        return None


def refused_by_gateway(reply: RelayReply) -> RelayUnavailable | TooLarge:
    """What an answer that is not sealed means. Anyone on the way can have written it: its words are not repeated."""
    if is_key_problem(reply):
        return KeyNotHeld("the gateway does not hold the key of the newest bundle; try again in a few seconds")
    if reply.status == 413:
        return TooLarge(
            "the relay or gateway does not take a request this large: cut or compress the file, and send less at once"
        )
    if reply.status == 429:
        return TooManyRequests(max(1, reply.retry_seconds))
    return RelayUnavailable(f"no sealed answer came back: the relay or gateway answered {reply.status}")
