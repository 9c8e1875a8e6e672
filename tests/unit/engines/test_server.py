import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.doubles.engine_process import ENGINES, UnixConnection, unsandboxed
from tests.doubles.sandboxes import FAULTY
from tests.speech import form


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with unsandboxed(ENGINES / "echo.py", tmp_path_factory.mktemp("echo")) as path:
        yield path


def raw(address, data):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(address))  # which waits while the queue of connections is full
        peer.settimeout(10)
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        while block := peer.recv(65536):
            received += block
        return received


def children(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def eventually(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_each_request_has_a_connection_of_its_own_and_is_told_so(address):
    body, content_type = form(b"RIFF", model="whisper-1")
    connection = UnixConnection(address)
    for _ in range(3):
        connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": content_type})
        response = connection.getresponse()
        assert json.loads(response.read())["text"] == "4 bytes"
        assert response.getheader("connection") == "close"
    connection.close()


def test_a_stream_is_sent_in_chunks(address):
    body, content_type = form(b"RIFF", model="whisper-1", stream="true")
    request = f"POST /v1/audio/transcriptions HTTP/1.1\r\ncontent-type: {content_type}\r\n"
    received = raw(address, f"{request}content-length: {len(body)}\r\n\r\n".encode() + body)
    head, _, chunks = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-type: text/event-stream" in head
    assert chunks.count(b"transcript.text.delta") == 2
    assert chunks.endswith(b"\r\n0\r\n\r\n")


def test_what_works_for_a_peer_that_hung_up_is_killed(tmp_path):
    with unsandboxed(FAULTY.program, tmp_path) as address:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(address))
            engine = (
                raw(address, b"POST /run HTTP/1.1\r\ncontent-length: 33\r\n\r\nimport os; result = os.getppid()\n")
                .rpartition(b" ")[2]
                .decode()
            )
            peer.sendall(b"GET /hang HTTP/1.1\r\n\r\n")
            eventually(lambda: len(children(engine)) == 1)
        eventually(lambda: children(engine) == [])
        assert raw(address, b"GET / HTTP/1.1\r\n\r\n").endswith(b"0")


def test_connections_that_say_nothing_keep_nobody_waiting(address):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(address))
        assert b"200 OK" in raw(address, b"GET /health HTTP/1.1\r\n\r\n")


MANY_AT_ONCE = """
from cloister.engines.server import Response, inherited_listener, serve
serve(inherited_listener(), lambda request: Response.json({}), at_once=40)
"""


def test_who_opens_as_many_connections_ahead_as_it_may_ask_at_once_keeps_nobody_waiting(tmp_path):
    (tmp_path / "many.py").write_text(MANY_AT_ONCE)
    with unsandboxed(tmp_path / "many.py", tmp_path) as address, contextlib.ExitStack() as stack:
        for _ in range(82):  # two gateways, and what each keeps for itself
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(address))
        assert b"200 OK" in raw(address, b"GET /health HTTP/1.1\r\n\r\n")


LEFT_OPEN = """
import fcntl, os
from cloister.engines.server import Response, inherited_listener, serve
left = os.open("/dev/zero", os.O_RDONLY), fcntl.fcntl(0, fcntl.F_DUPFD, 200)
def opened(number):
    try: return os.readlink(f"/proc/self/fd/{number}").partition(":")[0]
    except FileNotFoundError: return None
serve(inherited_listener(), lambda request: Response.json([opened(number) for number in range(3, 256)]))
"""


def test_a_request_has_its_connection_and_nothing_else_that_the_first_process_opened(tmp_path):
    (tmp_path / "left_open.py").write_text(LEFT_OPEN)
    with unsandboxed(tmp_path / "left_open.py", tmp_path) as address, socket.socket(socket.AF_UNIX) as another:
        another.connect(str(address))
        opened = json.loads(raw(address, b"GET / HTTP/1.1\r\n\r\n").rpartition(b"\r\n")[2])
    assert [one for one in opened if one is not None] == ["socket"]


def test_more_requests_than_processors_are_all_answered(address):
    asked = b"GET /health HTTP/1.1\r\n\r\n"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: raw(address, asked), range(64)))
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)


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
    received = raw(address, data)
    assert received.startswith(b"HTTP/1.1 %d " % status)


def test_a_peer_that_goes_away_in_the_middle_harms_nobody(address):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(address))
        peer.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc")
    assert raw(address, b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_two_requests_sent_at_once_are_refused(address):
    twice = b"GET /health HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    received = raw(address, twice)
    assert received.startswith(b"HTTP/1.1 400 ")


def test_a_refusal_before_the_body_was_read_reaches_a_peer_that_still_sends(address):
    begun = b"POST / HTTP/1.1\r\ncontent-length: 27262977\r\n\r\n" + bytes(1_000_000)
    assert raw(address, begun).startswith(b"HTTP/1.1 413 ")
