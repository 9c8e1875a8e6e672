"""One request and its answer: what of a user's request travels inside, and what of the answer comes back out.

The inner request names no host of the user's and carries four headers at most, so that a gateway cannot tell clients
apart by their software, language or bearer token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from cloister.crypto.hpke import OpenFailed
from cloister.errors import CloisterError, MalformedInput, TooLarge, Unavailable, UsageError
from cloister.formats import binary_http
from cloister.formats.binary_http import Fields, Request, Response
from cloister.formats.key_config import KeyConfig
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER, RequestSummary
from cloister.hosting import problem
from cloister.hosting.problem import Problem
from cloister.ohttp.encapsulation import ResponseOpener, encapsulate_request
from cloister.ohttp.padding import pad
from cloister.ohttp.privacy import PRIVACY_HEADER, STANDARD, Privacy
from cloister.provenance.answer import summarise
from cloister.trust.receipt import Exchange

SCHEME = "https"
AUTHORITY = "gateway.invalid"  # one for all (RFC 2606): nobody resolves it, and it says nothing of the user
REQUEST_HEADERS = ("accept", "content-type")  # of the user's request; `date` is added, and the level of privacy
RESPONSE_HEADERS = ("content-type", "retry-after", "x-should-retry")  # of the answer, back to the user
MAXIMUM_REQUEST = 26 * 1024 * 1024  # bytes of a body: OpenAI's 25 MiB for a file, and the form around it
DATE_PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#date"  # RFC 9458 section 6.5.2
MAXIMUM_PATH = 200  # characters
_PATH_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.:-")


class AnswerNotOpened(CloisterError):
    """What came back is no answer to this request: altered on the way, or made up. It was not shown."""

    exit_code = 3
    status = 502


class NotAdmitted(Unavailable):
    """The gateway opened the request and did not take it: its date or a repetition stands against it.

    `clock` is what the gateway says the time is, in seconds since 1970; 0 where it does not say.
    """

    def __init__(self, said: Problem, clock: int) -> None:
        super().__init__(f"the gateway did not take the request: {said.detail}")
        self.wrong_date = said.type == DATE_PROBLEM_TYPE
        self.clock = clock


@dataclass(frozen=True, slots=True)
class UserRequest:
    """A request as an application makes it: of its headers only `REQUEST_HEADERS` travel."""

    method: str
    path: str  # without a query: contracts name none
    headers: Sequence[tuple[str, str]] = ()  # names in any case
    body: bytes = b""

    def header(self, name: str) -> str:
        """The first value of `name` (lower case), or nothing."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A request ready to go, and what its answer is held against."""

    data: bytes
    opener: ResponseOpener
    summary: RequestSummary


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer that opened; not to be shown before its receipt is examined."""

    response: Response
    core: bytes
    exchange: Exchange


def check_request(request: UserRequest) -> RequestSummary:
    """What a receipt will cover, if `request` is one that can travel.

    Raises:
        TooLarge: the body is over 26 MiB.
        UsageError: a path that no contract can name, or a body that calls itself a form and is none.
    """
    if len(request.body) > MAXIMUM_REQUEST:
        raise TooLarge(f"a request of {len(request.body)} bytes, the cap is {MAXIMUM_REQUEST}")
    check_path(request.path)
    return summarise(request.method, request.path, request.header("content-type"), request.body)


def check_path(path: str) -> None:
    """Let a path through that can travel.

    Raises:
        UsageError: no contract can name it.
    """
    if not path.startswith("/") or len(path) > MAXIMUM_PATH or not _PATH_CHARACTERS.issuperset(path):
        raise UsageError("the path is not one that a contract can name: letters, digits and / _ . : - only, no query")


def seal(request: UserRequest, summary: RequestSummary, config: KeyConfig, *, at: int) -> Sealed:
    """Encode, pad and encapsulate `request` to the key of a verified bundle, at the time `at`."""
    data, opener = encapsulate_request(config, pad(binary_http.encode(inner_request(request, at=at))))
    return Sealed(data, opener, summary)


def inner_request(request: UserRequest, *, at: int, privacy: Privacy = STANDARD) -> Request:
    """What travels of `request`, at the time `at`, with what is asked of the answer's lengths and times."""
    headers = [(name, value) for name in REQUEST_HEADERS if (value := request.header(name).strip())]
    headers.append(("date", formatdate(at, usegmt=True)))
    if privacy != STANDARD:
        headers.append((PRIVACY_HEADER, privacy))
    return Request(request.method, SCHEME, AUTHORITY, request.path, tuple(headers), request.body)


def open_answer(sealed: Sealed, data: bytes) -> Opened:
    """Open and parse what came back; its receipt is not examined yet.

    Raises:
        AnswerNotOpened: it does not open, is no answer, or carries no receipt.
        NotAdmitted: it opens, and says that the request was not taken.
    """
    try:
        response = binary_http.decode_response(sealed.opener.open(data))
        require_admitted(response)
        core, salt = (carried(response.headers, name) for name in (RECEIPT_HEADER, SALT_HEADER))
    except (MalformedInput, TooLarge, ValueError) as error:
        raise AnswerNotOpened(f"the answer is not one: {error}") from error
    except OpenFailed as error:
        raise AnswerNotOpened(f"the answer does not open: {error}") from error
    exchange = Exchange(sealed.summary, response.status, hashlib.sha256(response.body).digest(), salt)
    return Opened(Response(response.status, shown(response.headers), response.body), core, exchange)


def shown(headers: Fields) -> Fields:
    """What of an answer's headers the user gets."""
    return tuple((name, value) for name, value in headers if name in RESPONSE_HEADERS)


def require_admitted(response: Response) -> None:
    """Only a gateway that opened the request can have sealed this, so its word on why it has no answer counts.

    Raises:
        NotAdmitted: it says that the request was not taken.
        MalformedInput, TooLarge, ValueError: it says so in no way that can be read.
    """
    fields = dict(response.headers)
    if fields.get("content-type") == problem.MEDIA_TYPE and RECEIPT_HEADER not in fields:
        date = parsedate_to_datetime(fields["date"]) if "date" in fields else None
        raise NotAdmitted(problem.parse(response.body), int(date.timestamp()) if date else 0)


def carried(headers: Fields, name: str) -> bytes:
    """A field's base64 value.

    Raises:
        MalformedInput: there is not one such field, or it is not base64.
    """
    values = [value for key, value in headers if key == name]
    if len(values) != 1:
        raise MalformedInput(f"it carries {len(values)} fields {name}, not one")
    try:
        return base64.b64decode(values[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput(f"its field {name} is not base64") from error
