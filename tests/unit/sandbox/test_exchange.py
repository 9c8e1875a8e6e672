import asyncio
import contextlib
import itertools
import socket

import pytest

from cloister.formats.binary_http import Request
from cloister.sandbox.errors import EngineCrashed
from cloister.sandbox.exchange import MAXIMUM_ANSWER, exchange, head

ASK = Request("POST", "http", "engine", "/v1/x", (("content-type", "text/plain"),), b"body")


async def answered(tmp_path, answer, request=ASK):
    """What `exchange` makes of an engine that answers these bytes and hangs up."""
    received = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        received.set_result(await reader.read(65536))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "engine"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "engine")
        try:
            return await exchange(reader, writer, request), await received
        finally:
            writer.close()


async def test_an_answer_comes_back_with_whether_the_connection_is_kept(tmp_path):
    (reply, keep), received = await answered(tmp_path, b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 2\r\n\r\nhi")
    assert (reply.status, reply.headers, reply.body, keep) == (
        200,
        (("x-a", "b"), ("content-length", "2")),
        b"hi",
        True,
    )
    assert received == (
        b"POST /v1/x HTTP/1.1\r\nhost: engine\r\ncontent-length: 4\r\ncontent-type: text/plain\r\n\r\nbody"
    )
    (reply, keep), _ = await answered(tmp_path, b"HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert (reply.status, keep) == (413, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: \xff\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAXIMUM_ANSWER + 1) + bytes(MAXIMUM_ANSWER + 1),
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 2,
    ],
    ids=[
        "nothing",
        "cut off",
        "not HTTP",
        "no header",
        "only interim",
        "control character",
        "long head",
        "long body",
        "two answers",
    ],
)
async def test_an_answer_that_is_not_one_whole_answer_is_a_crash(tmp_path, answer):
    with pytest.raises(EngineCrashed):
        await answered(tmp_path, answer)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\na: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 ", b"x"),
        (b"", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: ", b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x"),
    ],
    ids=["header's value", "header's name", "reason", "empty lines", "trailer", "chunk's extension"],
)
async def test_an_answer_that_never_gets_to_its_body_is_a_crash_before_it_fills_memory(first, then):
    ours, engines = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    _, engine = await asyncio.open_unix_connection(sock=engines)
    sent = 0

    async def say():
        nonlocal sent
        engine.write(first)
        with contextlib.suppress(ConnectionError):
            for _ in itertools.repeat(None):
                engine.write(then * 4096)
                await engine.drain()
                sent += len(then) * 4096

    asking = asyncio.create_task(exchange(reader, writer, ASK))
    await asyncio.sleep(0.01)  # it has asked
    saying = asyncio.create_task(say())
    try:
        with pytest.raises(EngineCrashed):
            async with asyncio.timeout(5):
                await asking
        assert sent < 2**21
    finally:
        writer.close()
        await saying
        engine.close()


async def test_a_body_in_the_smallest_chunks_is_still_a_body(tmp_path):
    start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    (reply, _), _ = await answered(tmp_path, start + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")
    assert reply.body == b"a" * 50_000


async def test_an_answer_that_is_there_before_the_request_is_a_crash():
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    ours, engine = socket.socketpair()
    with engine:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        asking = asyncio.create_task(exchange(reader, writer, ASK))
        await asyncio.sleep(0.01)
        engine.send(whole)
        assert (await asking)[1]
        assert b"body" in engine.recv(4096)
        engine.send(whole)
        with pytest.raises(EngineCrashed, match="before it was asked"):
            await exchange(reader, writer, ASK)
        engine.setblocking(False)
        with pytest.raises(BlockingIOError):
            engine.recv(1)  # the next user's request was not shown to it
        writer.close()


def test_the_length_is_ours_to_say_and_not_a_callers():
    smuggling = Request(
        "POST", "http", "engine", "/", (("content-length", "1"), ("transfer-encoding", "chunked")), b"abc"
    )
    assert head(smuggling) == b"POST / HTTP/1.1\r\nhost: engine\r\ncontent-length: 3\r\n\r\n"
