import json
import socket

import pytest
from tests.doubles.engine_process import ENGINES, UnixConnection, unsandboxed
from tests.speech import form


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with unsandboxed(ENGINES / "echo.py", tmp_path_factory.mktemp("echo")) as path:
        yield path


def raw(address, data):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(address))
        peer.sendall(data)
        received = b""
        while block := peer.recv(65536):
            received += block
        return received


def test_a_connection_is_kept_for_the_next_request(address):
    body, content_type = form(b"RIFF", model="whisper-1")
    connection = UnixConnection(address)
    for _ in range(3):
        connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": content_type})
        response = connection.getresponse()
        assert json.loads(response.read())["text"] == "4 bytes"
        assert response.getheader("connection") == "keep-alive"
    connection.close()


def test_a_chunked_body_is_read_as_a_whole_one(address):
    body, content_type = form(b"RIFF" * 1000, model="whisper-1")
    connection = UnixConnection(address)
    pieces = (body[start : start + 100] for start in range(0, len(body), 100))
    connection.request("POST", "/v1/audio/transcriptions", pieces, {"Content-Type": content_type}, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["text"] == "4000 bytes"
    connection.close()


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"hello\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\ncontent-length: 27262977\r\n\r\n"),
        (413, b"GET / HTTP/1.1\r\na: " + b"x" * 20000 + b"\r\n\r\n"),
        (413, b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1a00001\r\n" + bytes(0x1A00001)),
    ],
)
def test_what_is_not_http_or_over_a_cap_is_answered_and_hung_up_on(address, status, data):
    try:
        received = raw(address, data)
    except (BrokenPipeError, ConnectionResetError):  # it hung up while we still sent
        assert status == 413
        return
    assert received.startswith(b"HTTP/1.1 %d " % status)


def test_a_peer_that_goes_away_in_the_middle_harms_nobody(address):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(address))
        peer.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc")
    assert raw(address, b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_two_requests_sent_at_once_are_answered_in_order(address):
    twice = b"GET /health HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\nconnection: close\r\n\r\n"
    received = raw(address, twice)
    assert received.index(b"200 OK") < received.index(b"404 Not Found")
