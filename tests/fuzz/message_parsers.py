"""What clients, relays, gateways and engines say to each other."""

from __future__ import annotations

from tests.fuzz.target import Targets

from cloister.client.transcript_events import TranscriptEvents
from cloister.crypto.hpke import KemPrivateKey, OpenFailed
from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Request
from cloister.engines.speech_vocabulary import parse_vocabulary
from cloister.engines.transcription_form import TranscriptionForm, read_form
from cloister.errors import MalformedInput
from cloister.formats import binary_http
from cloister.formats.binary_http_stream import RequestDecoder, ResponseDecoder
from cloister.formats.binary_http_view import view_request
from cloister.formats.hpke_suite import X25519_HKDF_SHA256
from cloister.formats.key_config import KeyConfig
from cloister.formats.multipart import parse_multipart
from cloister.hosting.http_chunk_views import ChunkedBody
from cloister.hosting.http_chunks import ChunkDecoder
from cloister.hosting.http_head import parse_request_head, parse_response_head
from cloister.ohttp import chunked, records
from cloister.ohttp.encapsulation import KeyProblem, parse_header

FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\naudio\r\n--b--\r\n'
OHTTP_KEY = KemPrivateKey.generate(X25519_HKDF_SHA256)
FIELDS = {"model": "whisper-1", "temperature": "0.5", "language": "en", "response_format": "verbose_json"}
FIELDS |= {"timestamp_granularities[]": "word", "stream": "false", "chunking_strategy": "auto"}
TRANSCRIPTION = "".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in FIELDS.items()
).encode()


def message_targets() -> Targets:
    """Messages of Binary HTTP, their chunks and records, and forms."""
    request = binary_http.Request("POST", "https", "x", "/v1/a", (("content-type", "text/plain"),), b"body")
    framings = list(binary_http.Framing)
    response = binary_http.Response(200, (("date", "x"),), b"body")
    return {
        "binary_request": (
            binary_http.decode_request,
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "binary_request_view": (
            lambda data: view_request(memoryview(data)),
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "chunk_views": (
            lambda data: ChunkedBody().feed(memoryview(data)),
            [b"3\r\nabc\r\n0\r\n\r\n"],
        ),
        "binary_response": (
            binary_http.decode_response,
            [binary_http.encode(response, framing=framing) for framing in framings],
        ),
        "request_pieces": (
            lambda data: in_pieces(RequestDecoder(), data),
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "response_pieces": (
            lambda data: in_pieces(ResponseDecoder(), data),
            [binary_http.encode(response, framing=framing) for framing in framings],
        ),
        "answer_records": (read_records, [answer_records(b"one", b"two")]),
        "chunked_request": (open_chunks, [chunked_request(b"first", b"second", b"last")]),
        "multipart": (lambda data: parse_multipart(data, "multipart/form-data; boundary=b"), [FORM]),
        "transcription_form": (transcription_form, [TRANSCRIPTION + FORM]),
    }


def http_targets() -> Targets:
    """The heads of HTTP/1.1 messages, under each framing, and bodies in chunks."""
    framings = (b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: keep-alive, x")
    return {
        "vocabulary": (parse_vocabulary, [b"metoprolol M AH T OW P R AH L AO L\n# more\nx-ray EH K S R EY\n"]),
        "transcript_events": (
            lambda data: TranscriptEvents().feed(data),
            [b'data: {"type": "transcript.text.delta", "delta": "x"}\n\ndata: {"error": {"message": ""}}\r\n\r\n'],
        ),
        "http_chunks": (
            lambda data: ChunkDecoder().feed(data),
            [b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nA: b\r\n\r\n"],
        ),
        "http_request_head": (
            parse_request_head,
            [b"POST /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\n%b\r\n\r\nabc" % line for line in framings],
        ),
        "http_response_head": (
            parse_response_head,
            [b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n%b\r\n\r\nabc" % line for line in framings],
        ),
    }


def transcription_form(data: bytes) -> TranscriptionForm:
    """A form as the engine reads it, with its refusal as everyone else's."""
    headers = {"content-type": "multipart/form-data; boundary=b"}
    try:
        return read_form(Request("POST", "/v1/audio/transcriptions", headers, data), ("whisper-1",))
    except ApiError as error:
        raise MalformedInput(str(error)) from error


def in_pieces(decoder: RequestDecoder | ResponseDecoder, data: bytes) -> None:
    """Feed a message in pieces of every size, the shortest first."""
    at = size = 0
    while at < len(data):
        size += 1
        decoder.feed(data[at : at + size])
        at += size
    decoder.end()


def answer_records(*contents: bytes) -> bytes:
    """An answer's records, whose content ends with the last of these."""
    places = [bytearray(records.RECORD_SIZE) for _ in range(records.TOTALS[0])]
    for place, content in zip(places, contents, strict=False):
        kind = records.Kind.LAST if content is contents[-1] else records.Kind.MORE
        records.write_record(memoryview(place), kind, content)
    return b"".join(places)


def read_records(data: bytes) -> None:
    """Read a whole answer's."""
    reader = records.RecordReader()
    reader.feed(data)
    reader.end()


def chunked_request(*chunks: bytes) -> bytes:
    """A chunked request to `OHTTP_KEY`, with its head."""
    sealer, _ = chunked.encapsulate(KeyConfig(1, OHTTP_KEY.kem, OHTTP_KEY.public))
    return b"".join([sealer.head, *map(sealer.seal, chunks[:-1]), sealer.finish(chunks[-1])])


def open_chunks(data: bytes) -> None:
    """Open it as a gateway does; chunks that do not open are refused like malformed ones."""
    size = chunked.head_size(parse_header(data)) if data[1:3] == b"\x00\x20" else len(data)
    try:
        opener, _ = chunked.open_request(OHTTP_KEY, 1, data[:size], nonce=bytes(16))
        room = memoryview(bytearray(chunked.MAXIMUM_CHUNK))
        for _ in opener.feed_into(data[size:], room):
            pass
        opener.end_into(room)
    except (OpenFailed, KeyProblem) as error:
        raise MalformedInput(str(error)) from error
