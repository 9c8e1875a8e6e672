"""Asks one vendor's service over HTTPS: bounded in size, time and tries, polite where it says to come back later.

Nothing that it answers is believed: who asks has it examined. TLS keeps others on the way from reading which chips are
asked for, and from withholding unseen; no proof rests on it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from cloister.errors import CloisterError, Unavailable, UsageError

_CHUNK: Final = 65_536  # bytes of one read
_MAXIMUM_FIELD: Final = 32 * 1024  # bytes of one header: Intel's chains come in them
_REDIRECTS: Final = 3
_LATER: Final = (408, 425, 429, 500, 502, 503, 504)  # the same question may be answered later
_LONGEST_REST: Final = 3600.0  # seconds: no answer silences us for longer
_AT_ONCE: Final = 8  # questions to one service


class VendorUnavailable(Unavailable):
    """A vendor's service did not answer, or says to come back later."""


class VendorRefused(CloisterError):
    """A vendor's service will not answer this, or answers what it may not. Asking again does not help."""

    exit_code = 4
    status = 502


class VendorUnknown(VendorRefused):
    """It does not have what was asked for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one question may take, and how often it is asked again."""

    answer_seconds: float = 15.0  # of one try, connecting included
    total_seconds: float = 60.0  # of all tries and the pauses between them
    tries: int = 5
    first_pause_seconds: float = 0.5  # doubled with each try, up to half as much again by chance


@dataclass(frozen=True, slots=True)
class Waits:
    """The outside world's time: of the calendar, in seconds since 1970, for dates in answers; and pauses."""

    now: Callable[[], float] = time.time  # noqa: TID251 - Retry-After may name a moment of the calendar
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """A whole answer of status 200."""

    body: bytes
    headers: Mapping[str, str]  # names compare without case


class _Later(Exception):
    """This try had no answer; the vendor named when to come back, in seconds, or did not."""

    def __init__(self, sentence: str, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class VendorSite:
    """One service. Enter it in a running loop; leaving closes its connections.

    It keeps no cookies, reads no proxy and no password from the environment, and goes nowhere else: a redirect is
    followed to the same host and port only.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        waits: Waits | None = None,
    ) -> None:
        """`name` is what errors call the service, `url` its prefix; `tls` says who may certify it, else this machine.

        Raises:
            UsageError: `url` is not one of HTTPS, nor of HTTP on this machine.
        """
        require_vendor_url(name, url)
        parts = urlsplit(url)
        self.name = name
        self._url = url.rstrip("/")
        self._origin = (parts.scheme, parts.netloc)
        self._tls: ssl.SSLContext | bool = tls or True  # aiohttp's own context is made once, and takes its time
        self._patience = patience or Patience()
        self._waits = waits or Waits()
        self._not_before = 0.0  # on the loop's clock: whoever asks heeds what another was told
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_AT_ONCE, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=self._patience.answer_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"accept-encoding": "identity", "user-agent": "cloister"},
            max_field_size=_MAXIMUM_FIELD,
        )
        return self

    async def __aexit__(self, *_raised: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, *, limit: int) -> VendorAnswer:
        """The answer to a GET of `path`, at most `limit` bytes; raises as `ask` does."""
        return await self.ask("GET", path, limit=limit)

    async def ask(
        self, method: str, path: str, *, limit: int, body: bytes | None = None, content_type: str = ""
    ) -> VendorAnswer:
        """The answer, at most `limit` bytes.

        Raises:
            VendorUnavailable: none in time, after all tries.
            VendorUnknown: it does not have that.
            VendorRefused: any other refusal, a redirect to another host, or an answer over `limit`.
        """
        headers = {"content-type": content_type} if content_type else {}
        end, pause = self._clock() + self._patience.total_seconds, self._patience.first_pause_seconds
        told = _Later("it was not asked")
        for number in range(self._patience.tries):
            if number:
                await self._rest(told, pause, end)
                pause *= 2
            await self._heed(told, end)
            try:
                async with self._places:
                    return await self._once(method, self._url + path, limit, body, headers)
            except _Later as later:
                told = later
                if later.seconds is not None:
                    self._not_before = max(self._not_before, self._clock() + later.seconds)
        raise VendorUnavailable(f"{self.name} did not answer: {told}")

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def _rest(self, told: _Later, pause: float, end: float) -> None:
        """Between two tries, where nothing was said of when: longer each time, and not all askers at once."""
        if told.seconds is None:
            seconds = pause * (1 + secrets.randbelow(512) / 1024)
            if self._clock() + seconds > end:
                raise VendorUnavailable(f"{self.name} did not answer: {told}")
            await self._waits.pause(seconds)

    async def _heed(self, told: _Later, end: float) -> None:
        """Wait for as long as the service said, to this asker or another, or say that it is too long."""
        seconds = self._not_before - self._clock()
        if seconds <= 0:
            return
        if self._clock() + seconds > end:
            raise VendorUnavailable(f"{self.name} says to come back in {seconds:.0f} s: {told}")
        await self._waits.pause(seconds)

    async def _once(
        self, method: str, url: str, limit: int, body: bytes | None, headers: Mapping[str, str]
    ) -> VendorAnswer:
        if self._session is None:
            raise RuntimeError("a VendorSite is entered before it is used")
        try:
            for _ in range(_REDIRECTS + 1):
                async with self._session.request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    if response.status == 200:
                        return VendorAnswer(await self._body(response, limit), response.headers)
                    url = self._elsewhere(response)
        except aiohttp.ClientConnectorCertificateError as error:
            raise VendorRefused(f"{self.name} is not who it should be: {_why(error)}") from error
        except TimeoutError as error:
            raise _Later(f"nothing within {self._patience.answer_seconds:g} s") from error
        except aiohttp.ClientConnectorDNSError as error:  # offline, most likely: it is not waited for
            told = f"this machine finds no address for {error.host}"
            raise VendorUnavailable(f"{self.name} was not asked: {told}") from error
        except aiohttp.ClientConnectorError as error:
            raise _Later(f"the connection failed: {error.host}:{error.port}: {error.os_error.strerror}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Later(f"the connection failed ({type(error).__name__})") from error
        raise VendorRefused(f"{self.name} redirects more than {_REDIRECTS} times")

    async def _body(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """The whole body; one that says that it is too long is not read."""
        content = bytearray()
        if (response.content_length or 0) <= limit:
            async for chunk in response.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > limit:
                    break
            else:
                return bytes(content)
        raise VendorRefused(f"{self.name} answered with more than {limit} bytes: {response.url.path}")

    def _elsewhere(self, response: aiohttp.ClientResponse) -> str:
        """Where a redirect leads.

        Raises:
            _Later, VendorUnknown, VendorRefused: it is none, or leads to another host.
        """
        status, path = response.status, response.url.path
        if status in _LATER:
            raise _Later(f"status {status}", self._retry_after(response.headers.get("retry-after", "")))
        if status in (404, 410):
            raise VendorUnknown(f"{self.name} does not have {path}")
        location = response.headers.get("location", "")
        if status not in (301, 302, 307, 308) or not location:
            raise VendorRefused(f"{self.name} refused {path} with status {status}")
        target = urljoin(str(response.url), location)
        if urlsplit(target)[:2] != self._origin:
            raise VendorRefused(f"{self.name} sends {path} to another host, where nothing is asked")
        return target

    def _retry_after(self, value: str) -> float | None:
        """Retry-After as seconds or as a date (RFC 9110 section 10.2.3), at most an hour; None where it is neither."""
        if value.isascii() and value.isdigit() and len(value) < 10:
            return min(float(value), _LONGEST_REST)
        try:
            return min(max(0.0, parsedate_to_datetime(value).timestamp() - self._waits.now()), _LONGEST_REST)
        except (ValueError, TypeError, OverflowError):
            return None


def _why(error: aiohttp.ClientConnectorCertificateError) -> str:
    """What is wrong with its certificate, in OpenSSL's words."""
    return getattr(error.certificate_error, "verify_message", "") or "its certificate"


def require_vendor_url(name: str, url: str) -> None:
    """Refuse an address that is no vendor's, nor a mirror's.

    Raises:
        UsageError: as `VendorSite`.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or local) or parts.query or parts.fragment:
        raise UsageError(f"{url} is not the address of {name}: https, or http on this machine")
    if parts.username or parts.password:
        raise UsageError(f"the address of {name} has a user or password in it: none is sent")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
