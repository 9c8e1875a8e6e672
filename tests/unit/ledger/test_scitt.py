"""The ledger as a SCITT transparency service: what it registers, and what others' tools make of its receipts."""

import base64
from functools import partial

import aiohttp
import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.ledger.test_routes import ledger, statement

from cloister.contract.fold import begin, fold
from cloister.crypto.merkle import leaf_hash
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.cose_sign1 import sig_structure
from cloister.formats.ledger_batch import RefusedEntry
from cloister.ledger.foreign_statements import NotRegistered, open_entries, open_foreign_statement
from cloister.ledger.receipts import verify_inclusion
from cloister.peers.exchange import PeerRefused
from cloister.testing.world import World

ISSUER, SUBJECT = "https://vendor.example", "product-1"
KEY = SigningKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
PEM = P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ISSUERS = {ISSUER: [VerificationKey.of_ed25519(KEY.public), VerificationKey.parse_pem(PEM)]}


def es256(message):
    r, s = decode_dss_signature(P256.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def signed(payload=b"an SBOM", *, claims=None, algorithm=-8, unprotected=None, detached=False, sign=KEY.sign, **header):
    """A statement of the issuer's; each argument changes one thing."""
    said = {1: ISSUER, 2: SUBJECT} if claims is None else claims
    protected = cbor2.dumps({1: algorithm, 3: "application/spdx+json", 15: said} | header.get("more", {}))
    signature = sign(sig_structure(protected, payload))
    parts = [protected, unprotected or {}, None if detached else payload, signature]
    return cbor2.dumps(cbor2.CBORTag(18, parts))


class Service:
    """A ledger that registers the issuer's statements: `await service(method, path, body, kind)` asks it."""

    def __init__(self, ask, public):
        self._ask = ask
        self.public = public
        self.key = VerificationKey.of_ed25519(public)

    async def __call__(self, *asked):
        return await self._ask(*asked)


@pytest.fixture
async def service(tmp_path):
    async with ledger(tmp_path, issuers=ISSUERS) as (life, _, url), aiohttp.ClientSession() as session:

        async def ask(method, path, body=None, kind="application/cose"):
            headers = {"content-type": kind} if body is not None else {}
            async with session.request(method, f"{url}{path}", data=body, headers=headers) as answer:
                return answer, await answer.read()

        yield Service(ask, life.sequencer.log.key)


@pytest.mark.parametrize(("algorithm", "sign"), [(-8, KEY.sign), (-7, es256)])
async def test_a_statement_of_a_known_issuer_is_registered_and_has_a_receipt(service, algorithm, sign):
    given = signed(algorithm=algorithm, sign=sign)
    answer, receipt = await service("POST", "/entries", given)
    assert (answer.status, answer.content_type) == (201, "application/cose")
    assert answer.headers["location"] == "/entries/0"
    assert verify_inclusion(receipt, leaf=leaf_hash(given), log_key=service.key).index == 0
    pem = service.key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert scitt_cose.verify_receipt(receipt, leaf_entry_hex=given.hex(), log_public_key_pem=pem).ok


async def test_entry_and_receipt_are_found_by_their_id_again(service):
    given = signed()
    for number in range(3):
        await service("POST", "/entries", statement(number), "application/cbor")
    location = (await service("POST", "/entries", given))[0].headers["location"]
    assert location == "/entries/3"
    answer, receipt = await service("GET", location)
    assert (answer.status, answer.content_type) == (200, "application/cose")
    found = verify_inclusion(receipt, leaf=leaf_hash(given), log_key=service.key)
    assert (found.index, found.size) == (3, 4)
    answer, entry = await service("GET", f"{location}/statement")
    assert (answer.content_type, entry) == ("application/cose", given)
    # Ours are entries like any other, with receipts like any other.
    answer, entry = await service("GET", "/entries/1/statement")
    assert (answer.content_type, entry) == ("application/cbor", statement(1))
    assert (await service("GET", "/entries/1"))[0].status == 200


async def test_other_front_ends_pass_a_statement_on_as_the_entry_that_it_is(tmp_path):
    admit = partial(open_entries, issuers=ISSUERS)
    async with ledger(tmp_path, admit=admit, issuers=ISSUERS) as (_, client, _):
        assert (await client.append(signed())).index == 0
        with pytest.raises(PeerRefused, match="no key of this issuer"):
            await client.append(signed(claims={1: "https://stranger.example", 2: SUBJECT}))
        first, second, third = await client.append_all([statement(1), signed(b"more"), signed(detached=True)])
        assert (first.index, second.index) == (1, 2)
        assert isinstance(third, RefusedEntry)


async def test_the_same_statement_keeps_its_place(service):
    given = signed()
    assert [(await service("POST", "/entries", given))[0].headers["location"] for _ in range(2)] == ["/entries/0"] * 2


async def test_the_keys_are_found_as_the_receipts_name_them(service):
    answer, keys = await service("GET", "/.well-known/scitt-keys")
    assert answer.content_type == "application/cbor"
    (key,) = cbor2.loads(keys)
    assert (key[1], key[-1], key[-2], key[2], key[3]) == (1, 6, service.public, service.public, -8)
    name = base64.urlsafe_b64encode(service.public).rstrip(b"=").decode()
    answer, one = await service("GET", f"/.well-known/scitt-keys/{name}")
    assert (answer.status, cbor2.loads(one)) == (200, key)
    _, receipt = await service("POST", "/entries", signed())
    assert cbor2.loads(cbor2.loads(receipt).value[0])[4] == service.public


def problem(answer, body):
    assert answer.content_type == "application/concise-problem-details+cbor"
    told = cbor2.loads(body)
    assert set(told) == {-1, -2}
    return answer.status, told[-1]


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (b"", MalformedInput, "not CBOR"),
        (b"no statement", MalformedInput, "not"),
        (statement(1), MalformedInput, "not a COSE_Sign1"),
        (signed() + b"\0", MalformedInput, "after the end"),
        (signed(algorithm=-36), MalformedInput, "algorithm"),
        (signed(more={2: [3]}), MalformedInput, "critical"),
        (signed(more={4: "key"}), MalformedInput, "key id"),
        (bytes(65_536), TooLarge, "65536 bytes"),
        (signed(detached=True), NotRegistered, "detached"),
        (signed(unprotected={4: b"unsigned"}), NotRegistered, "unsigned"),
        (signed(claims={}), NotRegistered, "CWT claims"),
        (signed(claims={1: ISSUER}), NotRegistered, "CWT claims"),
        (signed(claims={2: SUBJECT}), NotRegistered, "CWT claims"),
        (signed(claims={1: ISSUER, 2: 7}), NotRegistered, "CWT claims"),
        (signed(claims={1: ISSUER, 2: "s" * 1025}), NotRegistered, "CWT claims"),
        (signed(claims={1: "https://stranger.example", 2: SUBJECT}), NotRegistered, "no key of this issuer"),
        (signed(sign=SigningKey.generate().sign), BadSignature, "none of the issuer's keys"),
        (signed(sign=es256), BadSignature, "none of the issuer's keys"),
        (signed()[:-1] + bytes([signed()[-1] ^ 1]), BadSignature, "none of the issuer's keys"),
    ],
)
def test_the_registration_policy_does_not_take(given, error, sentence):
    with pytest.raises(error, match=sentence):
        open_foreign_statement(given, ISSUERS)


def test_what_it_takes_it_says_by_issuer_and_subject():
    assert open_foreign_statement(signed(), ISSUERS).subject == SUBJECT
    assert open_foreign_statement(signed(more={4: b"key", "x": 1}), ISSUERS).issuer == ISSUER


@pytest.mark.parametrize(
    ("given", "status", "title"),
    [
        (b"no statement", 400, "Malformed request"),
        (bytes(65_536), 413, "Malformed request"),
        (signed(detached=True), 400, "Payload Missing"),
        (signed(claims={}), 400, "Rejected"),
        (signed(sign=es256), 403, "Rejected"),
    ],
)
async def test_what_the_registration_policy_does_not_take_is_not_logged_and_told_in_cbor(service, given, status, title):
    assert problem(*await service("POST", "/entries", given)) == (status, title)
    assert (await service("GET", "/entries/0"))[0].status in (404, 503)


@pytest.mark.parametrize("path", ["/entries/1", "/entries/words", "/entries/1/statement"])
async def test_an_entry_that_is_not_there_is_told_in_cbor(service, path):
    await service("POST", "/entries", signed())
    assert problem(*await service("GET", path)) == (404, "Not Found")


@pytest.mark.parametrize("name", ["AAAA", "A"])
async def test_a_key_that_is_not_there_is_told_in_cbor(service, name):
    assert problem(*await service("GET", f"/.well-known/scitt-keys/{name}")) == (404, "No such key")


async def test_before_the_first_checkpoint_it_says_to_come_back(service):
    answer, body = await service("GET", "/entries/0")
    assert problem(answer, body)[0] == 503
    assert answer.headers["retry-after"] == "1"


def test_a_statement_of_others_is_void_to_every_rule_of_ours():
    world = World()
    state = begin(world.log.entries[0], genesis=world.constitution.digest())
    before, after = fold(state, world.log.entries[1:]), fold(state, [signed(), *world.log.entries[1:]])
    assert (after.void, before.void) == (1, 0)
    assert [line.current for line in after.lines.values()] == [line.current for line in before.lines.values()]
