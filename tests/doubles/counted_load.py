"""Requests of one client, many at a time, while something breaks; and the count of what came of them."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from dataclasses import dataclass, field

from cloister.client.exchange import UserRequest
from cloister.errors import CloisterError, Refused

PATH = "/v1/audio/transcriptions"
AT_ONCE = 32
UNDISTURBED = 70  # requests that are sent before the fault
RECOVERY_SECONDS = 30.0  # relays leave a silent gateway alone for four, and keep a bundle for five


@dataclass
class Row:
    """What became of the requests of one fault."""

    process: str
    fault: str
    sent: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    retried: int = 0  # of the failed, sent again once the fault was over, and answered
    slowest: float = 0.0  # seconds
    said: collections.Counter[str] = field(default_factory=collections.Counter)

    def line(self) -> str:
        words = "; ".join(sentence for sentence, _ in self.said.most_common(2))
        counts = (
            f"{self.sent:5} {self.answered:8} {self.refused:7} {self.failed:6} {self.retried:7} {self.slowest:7.2f}"
        )
        return f"{self.process:8} {self.fault:8} {counts}  {words}"


HEADING = "process  fault     sent answered refused failed retried slowest  said"


class Load:
    """Requests of one client, each of its own body, and what came of them."""

    def __init__(self, session):
        self._session = session
        self._numbers = 0
        self.posts: collections.Counter[bytes] = collections.Counter()

    async def run(self, row, count, *, breaking, joining=0):
        """Send `count` requests, `AT_ONCE` at a time, and call `breaking` amid them; the bodies that failed.

        From then on so many more as are `joining` go at a time.
        """
        bodies = [self._fresh_body() for _ in range(count)]
        failed: list[bytes] = []
        waiting = iter(enumerate(bodies))

        async def worker():
            joined = []
            for number, body in waiting:
                if number == UNDISTURBED:
                    await breaking()
                    joined = [asyncio.create_task(worker()) for _ in range(joining)]
                if not await self._send(row, body):
                    failed.append(body)
            await asyncio.gather(*joined)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        row.sent += count
        return failed

    async def again(self, row, bodies):
        """Send what failed once more, as those who were told to: until the last of what stood against it is over."""
        after = Row(row.process, "none")
        waiting = iter(bodies)

        async def worker():
            for body in waiting:
                while not await self._send(after, body):
                    assert all("retry: True" in sentence for sentence in after.said), after.said
                    await asyncio.sleep(0.2)

        async with asyncio.timeout(RECOVERY_SECONDS):
            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        assert after.answered == len(bodies)
        row.retried += len(bodies)

    def _fresh_body(self):
        self._numbers += 1
        return b"request %d" % self._numbers

    async def _send(self, row, body):
        """Whether there was an answer; each is its own request's, or this fails."""
        self.posts[body] += 1
        begun = time.monotonic()
        try:
            answer = await self._session.send(UserRequest("POST", PATH, (("content-type", "text/plain"),), body))
        except Refused as refusal:
            row.refused += 1
            row.said[str(refusal)] += 1
            return True
        except CloisterError as error:
            row.said[f"{error} [retry: {error.retry}]"] += 1
            row.failed += 1
            return False
        finally:
            row.slowest = max(row.slowest, time.monotonic() - begun)
        if answer.response.status == 200:
            assert answer.response.body == body
            row.answered += 1
            return True
        message = json.loads(answer.response.body)["error"]["message"]
        retry = dict(answer.response.headers).get("x-should-retry") == "true"
        row.said[f"{answer.response.status}: {message} [retry: {retry}]"] += 1
        row.failed += 1
        return False
