"""A relay, a gateway and an echoing engine in one, over a real socket: what a client of a `World` talks to."""

import asyncio
import base64
import contextlib
import hashlib
import secrets
from email.utils import formatdate

from tests.doubles.http_peers import serving

from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.formats import binary_http, canonical
from cloister.formats import key_config as key_configs
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.hosting import problem
from cloister.hosting.http_exchange import Response, problem_response
from cloister.hosting.problem import Problem, problem_of
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.ohttp.encapsulation import RESPONSE_MEDIA_TYPE, KeyProblem, decapsulate_request, parse_header
from cloister.ohttp.padding import pad
from cloister.ohttp.privacy import STANDARD
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.testing.world import NOON, Node, World


class RelayedService:
    """Change an attribute to make it err; everything it saw is in `seen` and `opened`."""

    def __init__(self, now=NOON):
        self.world = World(now)
        self.now = now
        self.seen = []  # outer requests: method, target, headers, body
        self.opened = []  # inner requests
        self.status = 200
        self.text = b'{"text": "a spoken sentence"}'
        self.key_problems = 0  # so many encapsulated requests are refused as if their key were unknown
        self.gateway_clock = now
        self.not_admitted = []  # problems that open requests meet, one each
        self.outer = None  # answers every encapsulated request in the clear
        self.bundle_answer = None
        self.bundle_delay = 0.0  # seconds
        self.after_bundle_answer = None
        self.receipt = {}  # fields of `Answered` that differ in what is signed
        self.without_receipt = False
        self.signer = self.world.gateway.sign

    async def answer(self, request):
        body = await request.body.read(40_000_000)
        self.seen.append((request.method, request.target, request.headers, body))
        if request.target == "/bundle":
            await asyncio.sleep(self.bundle_delay)
            return self.bundle()
        if self.outer is not None:
            return self.outer
        if self.key_problems:
            self.key_problems -= 1
            return problem_response(problem_of(KeyProblem("the key is not held")))
        return self.open(body)

    def bundle(self):
        """The bundle, or what stands in for it: once where something is to happen after it."""
        answer, after = self.bundle_answer, self.after_bundle_answer
        if after is not None:
            self.bundle_answer = self.after_bundle_answer = None
            after()
        data = canonical.encode(self.world.bundle())
        return answer or Response(200, [(b"content-type", b"application/cbor")], data)

    def open(self, body):
        opened = decapsulate_request(self.world.transport, parse_header(body).key_id, body)
        inner = binary_http.decode_request(opened.request)
        self.opened.append(inner)
        sealed = opened.sealer.seal(pad(binary_http.encode(self.engine(inner))), nonce=secrets.token_bytes(16))
        return Response(200, [(b"content-type", RESPONSE_MEDIA_TYPE.encode())], sealed)

    def engine(self, inner):
        if self.not_admitted:
            fields = (("content-type", problem.MEDIA_TYPE), ("date", formatdate(self.gateway_clock, usegmt=True)))
            return binary_http.Response(400, fields, problem.encode(self.not_admitted.pop(0)))
        content_type = dict(inner.headers).get("content-type", "")
        summary = summarise(inner.method, inner.path, content_type, inner.body)
        salt = secrets.token_bytes(32)
        digest = hashlib.sha256(self.text).digest()
        said = {"request": summary, "status": self.status, "body_digest": digest, "salt": salt, "at": self.now}
        epoch = entry_digest(self.world.log.entries[self.world.epoch_entries[-1]])
        contract = self.world.contract.digest()
        core = sign_receipt(self.signer, Answered(**said | self.receipt), contract=contract, epoch=epoch)
        headers = [("content-type", "application/json"), ("server", "engine/1"), ("set-cookie", "who=you")]
        if not self.without_receipt:
            carried = {RECEIPT_HEADER: core, SALT_HEADER: salt}
            headers += [(name, base64.b64encode(value).decode()) for name, value in carried.items()]
        return binary_http.Response(self.status, tuple(headers), self.text)

    def certify(self, node: Node):
        """Another gateway is given the epoch's key, in a release that is logged."""
        release = self.world.make_release(node=node.keys)
        entry = sign_statement("release", release, (self.world.kms.sign,))
        self.world.release_entries.append(self.world.log.append(entry))

    def renew_epoch(self):
        """A new epoch with a new key is logged, and active."""
        world = self.world
        world.transport = KemPrivateKey.generate(X_WING)
        previous = entry_digest(world.log.entries[world.epoch_entries[-1]])
        config = key_configs.encode(key_configs.KeyConfig(2, X_WING, world.transport.public))
        world.epoch = world.make_epoch(number=2, previous=previous, key_config=config)
        world.epoch_entries.append(world.log.append(sign_statement("epoch", world.epoch, (world.kms.sign,))))
        digest = entry_digest(world.log.entries[world.epoch_entries[-1]])
        entry = sign_statement("release", world.make_release(epoch=digest), (world.kms.sign,))
        world.release_entries.append(world.log.append(entry))


def key_problem():
    """The problem with which a gateway says that it did not open a request."""
    return problem_response(problem_of(KeyProblem("the key is not held")))


def clear_answer(status, **members):
    """A problem in the clear, as a relay or gateway sends it."""
    return problem_response(Problem(title="Problem", status=status, detail="of the way", retry=False, **members))


@contextlib.asynccontextmanager
async def session_with(service, folder, waits=None, privacy=STANDARD, **policy):
    """A client of `service` whose memory is in `folder`."""
    async with serving(service.answer) as origin:
        trusted = service.world.policy(**policy)
        memory = MemoryFile(folder / "client-memory", genesis=trusted.constitution)
        relay = Relay(str(origin), waits=waits)
        async with Session(trusted, memory, relay, privacy=privacy, clock=lambda: service.now) as session:
            yield session
