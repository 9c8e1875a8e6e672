import asyncio

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


def test_the_length_is_ours_to_say_and_not_a_callers():
    smuggling = Request(
        "POST", "http", "engine", "/", (("content-length", "1"), ("transfer-encoding", "chunked")), b"abc"
    )
    assert head(smuggling) == b"POST / HTTP/1.1\r\nhost: engine\r\ncontent-length: 3\r\n\r\n"
