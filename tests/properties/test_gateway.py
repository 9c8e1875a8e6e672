"""Any bytes, sealed or not, are answered or refused by name; once open, every answer is sealed."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.sealed_client import NOON, Keys, request

from cloister.errors import MalformedInput
from cloister.formats.binary_http import Response, decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.ohttp.encapsulation import KeyProblem, encapsulate_request
from cloister.services.gateway.exchange import Exchanges
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import KeyRing
from cloister.services.gateway.replay import ReplayTable

KEYS = Keys()


class Engine:
    async def ask(self, request, *, seconds):
        return Response(200, (), request.body)

    def missing(self):
        return ()


def exchanges():
    return Exchanges(
        keys=KeyRing(KEYS, now=lambda: NOON),
        replays=ReplayTable(window_seconds=300, capacity=10, started=NOON - 10),
        endpoints=Endpoints([Endpoint(method="POST", path="/v1/audio/transcriptions")]),
        engine=Engine(),
        seal_receipt=lambda key, request, response: (),
        engine_seconds=1,
        now=lambda: NOON,
    )


@given(st.binary() | st.binary(max_size=40).map(lambda data: b"\x07\x64\x7a\0\1\0\1" + data))
def test_any_bytes_are_refused_in_the_clear_by_name(data):
    async def run():
        try:
            await exchanges().answer(data)
        except (MalformedInput, KeyProblem):
            return True

    assert asyncio.run(run())


INNER = encode(request())


@settings(deadline=None)
@given(st.binary() | st.integers(0, len(INNER)).map(lambda end: INNER[:end]))
def test_any_sealed_bytes_get_a_sealed_answer(inner):
    sealed, opener = encapsulate_request(KEYS.config, inner)
    answer = decode_response(opener.open(asyncio.run(exchanges().answer(sealed))))
    assert answer.status in (200, 400, 404, 405, 413)
