"""One HTTP exchange with a peer: bounded in time and size, its failures told in this system's words."""

from __future__ import annotations

import contextlib
import io
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge, Unavailable, UsageError
from cloister.examination import Outcome, RefusedSteps, Step
from cloister.hosting.challenges import CHALLENGE_SIZE
from cloister.hosting.http_client import IDLE_SECONDS
from cloister.hosting.problem import MAXIMUM_BYTES, Problem, parse
from cloister.hosting.tls import PeerTls, Spoken, peer_tls, renewing

CBOR = {"content-type": "application/cbor"}


class PeerRefused(CloisterError):
    """A peer would not do what was asked; `answer` is its status. The same request will be refused again."""

    status = 502

    def __init__(self, sentence: str, *, answer: int) -> None:
        super().__init__(sentence)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and which answers are one: status and media type, or any; a body of at most `limit` bytes."""

    method: str
    path: str
    limit: int
    body: bytes | None
    headers: Mapping[str, str] | None
    expected: tuple[tuple[int, str | None], ...]


class Asker(ABC):
    """Whoever has answers from a peer, or from one of several."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        limit: int,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        expected: tuple[tuple[int, str | None], ...] = ((200, None),),
    ) -> Answer:
        """The answer to a request of these parts; raises as `answer`."""
        return await self.answer(Request(method, path, limit, body, headers, expected))

    @abstractmethod
    async def answer(self, request: Request) -> Answer:
        """The peer's answer, if it is one of those that the request expects.

        Raises:
            Unavailable: no answer in time, a broken one, one over the cap, or one that says to come back later.
            Refused: the peer names a check that failed.
            PeerRefused: any other refusal.
        """


class Exchange(Asker):
    """Sends requests to one peer. Enter it in a running loop; leaving closes its connections.

    It follows no redirects, keeps no cookies, reads no proxy from the environment.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        seconds: float,
        peers: PeerTls | None = None,
        speaking: Callable[[], Spoken] | None = None,
    ) -> None:
        """`name` is what errors call the peer, `url` its prefix; `seconds` bound each exchange, connecting included.

        `speaking` says, for every connection anew, how TLS is spoken, in place of `peers`; it may raise `Unavailable`.

        Raises:
            UsageError: `url` is not one of HTTP; it is of another machine and not https; or it is https, and `peers`
                do not say how the peer is known and what it is shown.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"{url} is not the address of {name}")
        self.name = name
        self._url = url.rstrip("/")
        self._seconds = seconds
        if speaking is not None and parts.scheme != "https":
            raise UsageError(f"{url} is spoken to by this node's identity: write https://")
        self._shown = None if speaking is not None else peer_tls(url, peers)
        self._speaking = speaking
        self._renewing = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        shown = [] if self._shown is None else [self._shown]
        await self._renewing.enter_async_context(renewing(shown))
        tls = True if self._shown is None else self._shown.context
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=IDLE_SECONDS, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_raised: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._renewing.aclose()

    async def answer(self, request: Request) -> Answer:
        """The peer's answer."""
        answer = await self._send(request)
        if any(answer.status == status and kind in (None, answer.content_type) for status, kind in request.expected):
            return answer
        raise self._refusal(answer)

    async def challenge(self, path: str) -> bytes:
        """A fresh challenge, 32 bytes, of a peer that gives them out at `path`; raises as `ask`."""
        challenge = (await self.ask("POST", path, headers=CBOR, limit=CHALLENGE_SIZE)).body
        if len(challenge) != CHALLENGE_SIZE:
            raise self.broken(MalformedInput(f"a challenge of {len(challenge)} bytes"))
        return challenge

    def broken(self, error: CloisterError) -> Unavailable:
        """What to raise where an answer is not what the API says."""
        return Unavailable(f"{self.name} sent a broken answer: {error}")

    async def _send(self, request: Request) -> Answer:
        if self._session is None:
            raise RuntimeError("an Exchange is entered before it is used")
        spoken: dict[str, Any] = {}  # the session's own, where nothing is said for this request
        if self._speaking is not None:
            newest = self._speaking()
            spoken = {"ssl": newest.context, "server_hostname": newest.host}
        try:
            data = None if request.body is None else io.BytesIO(request.body)
            url, headers = self._url + request.path, request.headers
            async with self._session.request(
                request.method, url, data=data, headers=headers, allow_redirects=False, **spoken
            ) as response:
                content = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    content += chunk
                    if len(content) > max(request.limit, MAXIMUM_BYTES):
                        raise self.broken(TooLarge(f"over {request.limit} bytes"))
                answer = Answer(response.status, response.content_type, bytes(content))
        except TimeoutError as error:
            raise Unavailable(f"{self.name} did not answer within {self._seconds:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "")
            raise Unavailable(f"{self.name} is not who it should be: {reason or 'its certificate'}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self.name} cannot be reached: {_why(error)}") from error
        if answer.status < 400 and len(answer.body) > request.limit:
            raise self.broken(TooLarge(f"over {request.limit} bytes"))
        return answer

    def _refusal(self, answer: Answer) -> CloisterError:
        try:
            problem = parse(answer.body)
        except (MalformedInput, TooLarge):
            problem = Problem(title="", status=answer.status, detail=f"status {answer.status}", retry=False)
        if problem.retry or answer.status >= 500:
            return Unavailable(f"{self.name}: {problem.detail}")
        if problem.failed:
            return RefusedSteps([Step(one.check, Outcome.FAILED, one.shortfall) for one in problem.failed])
        if problem.check is not None:
            return Refused(problem.check, f"{self.name}: {problem.detail.removeprefix(f'{problem.check}: ')}")
        return PeerRefused(f"{self.name} refused: {problem.detail}", answer=answer.status)


def _why(error: BaseException) -> str:
    """What broke a connection; TLS says so in words, as when the peer takes no certificate of ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason}"
        cause = getattr(cause, "os_error", None) or cause.__cause__
    return type(error).__name__
