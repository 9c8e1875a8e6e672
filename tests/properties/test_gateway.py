"""Any bytes, sealed or not, are answered or refused by name; once open, every answer is sealed."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.gateway_exchanges import Connection, nothing_allowed, request_head
from tests.doubles.sealed_client import Keys, request

from cloister.formats.binary_http import decode_response, encode
from cloister.ohttp.encapsulation import encapsulate_request
from cloister.services.gateway.whole_exchange import WholeExchange

KEYS = Keys(endpoints=(), given={7})


def answered(data):
    """What a client gets: the status and body of what is in the clear, or the encapsulated answer."""

    async def run():
        connection = Connection()
        exchange = WholeExchange(nothing_allowed(KEYS), connection, request_head(len(data)))  # type: ignore[arg-type]
        if data:
            exchange.received(memoryview(data))
        exchange.complete()
        for _ in range(5):  # a key that is not held is asked for
            await asyncio.sleep(0)
        return connection

    return asyncio.run(run())


@given(st.binary() | st.binary(max_size=40).map(lambda data: b"\x07\x64\x7a\0\1\0\1" + data))
def test_any_bytes_are_refused_in_the_clear_by_name(data):
    connection = answered(data)
    assert connection.status == 400
    assert json.loads(connection.body)["status"] == 400


INNER = encode(request())


@settings(deadline=None)
@given(st.binary() | st.integers(0, len(INNER)).map(lambda end: INNER[:end]))
def test_any_sealed_bytes_get_a_sealed_answer(inner):
    sealed, opener = encapsulate_request(KEYS.config, inner)
    answer = decode_response(opener.open(bytes(answered(sealed).message)))
    assert answer.status in (400, 404, 413)
