"""A client that seals to a key it was handed, and the key's gateway side."""

from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.formats.binary_http import Request, decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.encapsulation import UnknownKey, encapsulate_request
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import GatewayKey
from cloister.services.gateway.replay import date_header

NOON = 1_800_000_000  # seconds since 1970
EPOCH = bytes(range(32))
ENDPOINT = Endpoint(method="POST", path="/v1/audio/transcriptions")


class Keys:
    """A key source that has one key and counts what it is asked."""

    def __init__(self, *, key_id=7, open_until=NOON + 3600, given=(), endpoints=(ENDPOINT,)):
        private = KemPrivateKey.generate(X_WING)
        self.config = KeyConfig(key_id, X_WING, private.public)
        self.key = GatewayKey(key_id, private, EPOCH, open_until, bytes(32), Endpoints(endpoints))
        self.asked: list[int] = []
        self.given: set[int] = set(given)

    def held(self, key_id):
        return self.key if key_id in self.given else None

    async def key_for(self, key_id):
        self.asked.append(key_id)
        if key_id != self.key.key_id:
            raise UnknownKey(f"no key {key_id}")
        self.given.add(key_id)
        return self.key


def request(method="POST", path="/v1/audio/transcriptions", *, date=NOON, headers=(), body=b"sound"):
    """A request as it is before it is sealed."""
    dated = () if date is None else (("date", date if isinstance(date, str) else date_header(date)),)
    return Request(method, "https", "gateway", path, (("content-type", "audio/wav"), *dated, *headers), body)


async def ask(answer, config, inner):
    """The opened answer to `inner`, sealed to `config`; `answer` takes and gives encapsulated messages."""
    sealed, opener = encapsulate_request(config, inner if isinstance(inner, bytes) else encode(inner))
    return decode_response(opener.open(await answer(sealed)))
