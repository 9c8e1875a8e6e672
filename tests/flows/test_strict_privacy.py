"""Strict privacy over the whole path: what passes at the relay is the same whatever was asked and answered."""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Any

from tests.doubles.taps import Tap, tapped

from cloister.client.answer_stream import AnswerCut
from cloister.client.exchange import AnswerNotOpened, UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.formats.binary_http import Response
from cloister.hosting.http_message import Origin
from cloister.ohttp.records import RECORD_SIZE, TICK_SECONDS, TOTALS
from cloister.testing.local_system import LocalSystem

HEADERS = (("Content-Type", "audio/wav"),)
AUDIO, OTHER = (UserRequest("POST", path, HEADERS, b"RIFF a voice") for path in ("/v1/audio/transcriptions", "/v1/no"))
LONG = UserRequest("POST", "/v1/audio/transcriptions", HEADERS, bytes(15_000))
REFUSED = UserRequest("POST", "/v1/audio/transcriptions", HEADERS, b"fail")
FRAMED = 2 + RECORD_SIZE + 16
SIZE = re.compile(rb"\r\n([0-9a-f]+)\r\n")


class Engine:
    """Answers at once, late with much, or with an error."""

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        if request.body == b"fail":
            return Response(503, (), b"not now")
        await asyncio.sleep(len(request.body) / 10_000)
        return Response(200, (("content-type", "text/plain"),), request.body * 3)


@dataclass
class Watched:
    """One client behind a tap of its own: what passed, and when something came back."""

    session: Session
    tap: Tap
    back: bytearray
    times: list[float]

    @property
    def answers(self):
        """The sizes of the pieces of each answer, as anyone on the way reads them."""
        _, *answers = bytes(self.back).split(b"message/ohttp-chunked-res")
        return [[int(size, 16) for size in SIZE.findall(answer)] for answer in answers]

    @property
    def requests(self):
        """The lengths of what was sent, each with its framing."""
        _, *requests = bytes(self.tap.forward).split(b"POST ")
        return [len(request.partition(b"\r\n\r\n")[2]) for request in requests]


@contextlib.asynccontextmanager
async def watched(system, folder, alter=lambda piece: piece):
    """A client of `system` under strict privacy; `alter` is what becomes of what comes back to it."""
    times: list[float] = []
    back = bytearray()
    armed: list[bool] = []
    policy = system.trust_policy()

    def note(piece):
        times.append(asyncio.get_running_loop().time())
        back.extend(piece)
        return alter(piece) if armed else piece

    tap = Tap(Origin("127.0.0.1", system.ports["relay"]), alter=note)
    async with tapped(tap) as origin:
        memory = MemoryFile(folder / f"memory-{id(tap)}", genesis=policy.constitution)
        async with Session(policy, memory, Relay(str(origin)), privacy="strict") as session:
            await session.hold()
            back.clear()
            tap.forward.clear()
            times.clear()
            armed.append(True)
            yield Watched(session, tap, back, times)


class Changing:
    """Does something to the records, by their number, and leaves all else alone."""

    def __init__(self, change):
        self.change, self.seen = change, 0

    def __call__(self, piece):
        if len(piece) < RECORD_SIZE:
            return piece
        self.seen += 1
        return self.change(self.seen, piece)


def kept_back():
    """Records in lots of eight."""
    held = bytearray()

    def keep(number, piece):
        held.extend(piece)
        out = bytes(held) if number % 8 == 0 or number >= TOTALS[0] - 1 else b""
        if out:
            held.clear()
        return out

    return keep


def exchanged():
    """The fifth after the sixth."""
    kept = []

    def exchange(number, piece):
        if number == 5:
            kept.append(piece)
            return b""
        return piece + kept.pop() if number == 6 else piece

    return exchange


TAMPERED = {
    "repeated": lambda number, piece: piece * 2 if number == 5 else piece,
    "out of order": exchanged(),
    "dropped": lambda number, piece: b"" if number == 5 else piece,
    "altered": lambda number, piece: piece[:-20] + bytes(20) if number == 5 else piece,
}


async def test_all_answers_look_alike_at_the_relay_and_who_is_tampered_with_is_told_so_alone(tmp_path):
    asked = (AUDIO, LONG, OTHER, REFUSED)
    system = LocalSystem(tmp_path)
    async with system.running(Engine()), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watched(system, tmp_path)) for _ in asked]
        changes = [kept_back(), *TAMPERED.values()]
        others = [await stack.enter_async_context(watched(system, tmp_path, Changing(one))) for one in changes]
        asking = [*zip(clients, asked, strict=True), *((one, AUDIO) for one in others)]
        answers: list[Any] = await asyncio.gather(
            *(one.session.send(request) for one, request in asking), return_exceptions=True
        )
    assert [answer.response.status for answer in answers[:4]] == [200, 200, 404, 503]
    assert answers[1].response.body == bytes(45_000)
    assert {answer.verified.gateway for answer in answers[:4]} == {system.secrets.sign.public}
    for client in clients:
        for answer in client.answers:  # a second one where the gateway started within the first one's second
            assert answer == [16 + FRAMED, *[FRAMED] * (TOTALS[0] - 2), FRAMED - 1, 0]
        assert client.times[-1] - client.times[0] > (TOTALS[0] - 1) * TICK_SECONDS - 0.2
    assert len({length for client in clients for length in client.requests}) == 1
    assert answers[4].response.body == b"RIFF a voice" * 3  # late, and whole
    for how, error in zip(TAMPERED, answers[5:], strict=True):
        assert isinstance(error, AnswerNotOpened | AnswerCut), how
