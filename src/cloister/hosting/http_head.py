"""The head of an HTTP/1.1 message, parsed whole, with one regular expression and no call per field.

Most heads hold at most one each of the fields that frame a message, spelled as usual: one expression takes those and
finds these fields on its way. All others go the long way, through a table of fields; both ways say the same.

Pure: bytes in, a head or a refusal out; connections, bodies and time are others'. Stricter than RFC 9112 asks of a
server, since two readers that differ over one message are how requests are smuggled: no bare line feed, no folded
line, no white space before a colon, no empty line before the first, one length or one `chunked` and never both.
Not spoken: HTTP/1.0 and 2, CONNECT, targets other than a path.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_HEAD: Final = 32 * 1024  # bytes, the empty line included
MAXIMUM_HEADERS: Final = 100
SINGLE: Final = (b"host", b"content-length", b"transfer-encoding")  # twice would be read in two ways
Fields = dict[bytes, bytes]  # by name in lower case; a name's repeats are joined by commas (RFC 9110 section 5.3)

# Only characters are repeated possessively: Python before 3.11.5 goes on in the wrong place after a group that was.
# So that nothing is tried twice all the same, at most one way leads through each line.
_CHARACTER = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_TOKEN = _CHARACTER + rb"++"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELDS = rb"((?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*)\r\n"
_REQUEST_LINE = rb"(?!CONNECT )(" + _TOKEN + rb") (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1\r\n"
_STATUS_LINE = rb"HTTP/1\.1 ([1-5][0-9]{2}) " + _TEXT + rb"\r\n"
_REQUEST = re.compile(_REQUEST_LINE + _FIELDS)
_RESPONSE = re.compile(_STATUS_LINE + _FIELDS)
# Any line but one that frames the message: most are known by their first letter, the others by their name.
_OTHER_LETTER = rb"[!#$%&'*+.^_`|~0-9ABD-GI-SU-Zabd-gi-su-z-]" + _CHARACTER + rb"*+:" + _TEXT + rb"\r\n"
_OTHER_NAME = (
    rb"(?!(?i:host|content-length|content-type|transfer-encoding|connection):)[CHTcht]" + _CHARACTER + rb"*+:"
    + _TEXT + rb"\r\n"
)  # fmt: skip


def _plain(first_line: bytes, groups: int) -> re.Pattern[bytes]:
    """A head whose first line has `groups` groups; then come the section, the host, the length and the media type."""
    host, length, kind = groups + 2, groups + 3, groups + 4
    return re.compile(
        first_line + rb"((?:" + _OTHER_LETTER
        + rb"|(?(%d)(?!)|[Hh]ost: ?([A-Za-z0-9.\-_:\[\]]++)\r\n)" % host
        + rb"|(?(%d)(?!)|[Cc]ontent-[Ll]ength: ?([0-9]{1,15}+)\r\n)" % length
        + rb"|(?(%d)(?!)|[Cc]ontent-[Tt]ype: ?([!-~]++(?: [!-~]++)*)\r\n)" % kind
        + rb"|" + _OTHER_NAME + rb"){0,%d})\r\n" % MAXIMUM_HEADERS
    )  # fmt: skip


_PLAIN_REQUEST = _plain(_REQUEST_LINE, 2)
_PLAIN_RESPONSE = _plain(_STATUS_LINE, 1)
_FIELD = re.compile(rb"([^:]++):([^\r]*+)\r\n")  # of a section that is known to be well formed
_OTHER_VERSION = re.compile(rb"(?:[^\r\n]* )?HTTP/(?!1\.1[ \r])[0-9]\.[0-9][ \r]")
_HOST = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BODILESS = (204, 304)
_NO_BODY = (b"204", b"304")


class HeadTooLarge(TooLarge):
    """A message's head is over its cap."""

    status = 431


class WrongVersion(MalformedInput):
    """Not HTTP/1.1."""

    status = 505


class RequestHead(NamedTuple):
    """A request's head; its target is a path that may carry a query."""

    method: bytes
    target: bytes
    section: bytes  # its lines of fields, as they came
    content_type: bytes | None
    length: int | None  # bytes of the body; `None` if it comes in chunks
    keep_alive: bool
    size: int  # bytes of the head: the body begins there

    @property
    def fields(self) -> Fields:
        """Every field, parsed anew at each call."""
        return _fields(self.section)


class ResponseHead(NamedTuple):
    """A response's head, an interim one's (1xx) too."""

    status: int
    section: bytes  # its lines of fields, as they came
    content_type: bytes | None
    length: int | None  # bytes of the body; `None` if it comes in chunks, or lasts until the connection ends
    chunked: bool
    keep_alive: bool
    size: int  # bytes of the head: the body begins there

    @property
    def fields(self) -> Fields:
        """Every field, parsed anew at each call."""
        return _fields(self.section)


def parse_request_head(data: bytes | bytearray) -> RequestHead | None:
    """The head that `data` begins with; `None` while it may still become one.

    Raises:
        MalformedInput: it is no request head, or its framing or host is ambiguous.
        WrongVersion: another version of HTTP.
        HeadTooLarge: over `MAXIMUM_HEAD` bytes or `MAXIMUM_HEADERS` fields.
    """
    found = _PLAIN_REQUEST.match(data, 0, MAXIMUM_HEAD)
    if found is None:
        return read_request_head(data)
    method, target, section, host, length, content_type = found.groups()
    if host is None:
        return read_request_head(data)
    size = 0 if length is None else int(length)
    # Half the time of RequestHead(…), whose __new__ is a function of Python's.
    return tuple.__new__(RequestHead, (method, target, section, content_type, size, True, found.end()))


def parse_response_head(data: bytes | bytearray) -> ResponseHead | None:
    """The head that `data` begins with, an answer to another method than HEAD; `None` while it may still become one.

    Raises:
        MalformedInput, WrongVersion, HeadTooLarge: as for a request.
    """
    found = _PLAIN_RESPONSE.match(data, 0, MAXIMUM_HEAD)
    if found is None:
        return read_response_head(data)
    status, section, _, length, content_type = found.groups()
    if length is None or status in _NO_BODY or status < b"200":
        return read_response_head(data)
    return tuple.__new__(ResponseHead, (int(status), section, content_type, int(length), False, True, found.end()))


def read_request_head(data: bytes | bytearray) -> RequestHead | None:
    """What `parse_request_head` says, the long way, and why it refuses."""
    found = _REQUEST.match(data, 0, MAXIMUM_HEAD)
    if found is None:
        _require_unfinished(data)
        return None
    method, target, section = found.groups()
    fields = _fields(section)
    host = fields.get(b"host")
    if host is None or not _HOST.fullmatch(host):
        raise MalformedInput("a request has one Host header, a host and perhaps a port")
    length, chunked = _framing(fields)
    if length is None and not chunked:
        length = 0
    return RequestHead(method, target, section, fields.get(b"content-type"), length, _keeps_alive(fields), found.end())


def read_response_head(data: bytes | bytearray) -> ResponseHead | None:
    """What `parse_response_head` says, the long way, and why it refuses."""
    found = _RESPONSE.match(data, 0, MAXIMUM_HEAD)
    if found is None:
        _require_unfinished(data)
        return None
    section, status = found[2], int(found[1])
    fields = _fields(section)
    length, chunked = _framing(fields)
    if status < 200 or status in _BODILESS:
        length, chunked = 0, False
    content_type, keep_alive = fields.get(b"content-type"), _keeps_alive(fields)
    return ResponseHead(status, section, content_type, length, chunked, keep_alive, found.end())


def _fields(section: bytes) -> Fields:
    lines = _FIELD.findall(section)
    fields = {name.lower(): value.strip() for name, value in lines}
    if len(lines) > MAXIMUM_HEADERS:
        raise HeadTooLarge(f"more than {MAXIMUM_HEADERS} headers")
    return fields if len(fields) == len(lines) else _joined(lines)


def _joined(lines: list[tuple[bytes, bytes]]) -> Fields:
    """The fields of a section in which some name stands more than once."""
    fields: Fields = {}
    for spelled, value in lines:
        name = spelled.lower()
        if name in fields and name in SINGLE:
            raise MalformedInput(f"more than one {name.decode()} header")
        fields[name] = fields[name] + b", " + value.strip() if name in fields else value.strip()
    return fields


def _framing(fields: Fields) -> tuple[int | None, bool]:
    """The announced length, and whether the body comes in chunks (RFC 9112 section 6)."""
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise MalformedInput("a body is framed by one Content-Length, or by one Transfer-Encoding: chunked")
        return None, True
    if length is None:
        return None, False
    if not _LENGTH.fullmatch(length):
        raise MalformedInput("a Content-Length is a number of at most 15 digits")
    return int(length), False


def _keeps_alive(fields: Fields) -> bool:
    options = fields.get(b"connection")
    return options is None or b"close" not in [option.strip() for option in options.lower().split(b",")]


def _require_unfinished(data: bytes | bytearray) -> None:
    """Refuse what no further byte makes a head."""
    whole = data.find(b"\r\n\r\n", 0, MAXIMUM_HEAD) >= 0
    if not whole and len(data) >= MAXIMUM_HEAD:
        raise HeadTooLarge(f"a head over the cap of {MAXIMUM_HEAD} bytes")
    if data.count(b"\n", 0, MAXIMUM_HEAD) != data.count(b"\r\n", 0, MAXIMUM_HEAD):
        raise MalformedInput("a bare line feed, where lines end in CR LF")
    if _OTHER_VERSION.match(data):
        raise WrongVersion("only HTTP/1.1 is spoken here")
    if whole:
        raise MalformedInput("not the head of an HTTP/1.1 message whose target is a path")
