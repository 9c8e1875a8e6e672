"""One client's request does the worst that it can to its engine, in the sandbox; another's in the same engine goes on.

The model is filled in, and counted: what a request may take besides is what the engine's sizes say.
"""

import asyncio
import os
from dataclasses import replace

import pytest
from tests.doubles.filled_models import MemoryModel
from tests.doubles.sandboxes import FAULTY, SMALL, staged

from cloister.sandbox.profile import MIB

MODEL = MemoryModel({"weights": os.urandom(64 * MIB)})
SIZES = replace(SMALL.holding(MODEL.files), request_seconds=30)
OURS = b"import time; time.sleep(0.2); result = 'whole'"
CONNECTION = b"""
import os, socket
for number in range(3, 64):
    try:
        peer = socket.socket(fileno=os.dup(number))
        peer.getpeername()
        break
    except OSError:
        pass
"""
FLOOD = (
    CONNECTION
    + b"""
peer.sendall(b"HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n")
while True: peer.sendall(b"10000\\r\\n" + bytes(65536) + b"\\r\\n")
"""
)
CLAIM = (
    CONNECTION
    + b"""
peer.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 10737418240\\r\\n\\r\\n" + bytes(65536))
import time; time.sleep(30)
"""
)
MEMORY = b"hoard = [bytearray(b'x' * 2**24) for _ in range(%d)]; result = 'all of it'" % (
    SMALL.memory_bytes // 2**24 + 4
)
HOARD = b"""
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    except RuntimeError: time.sleep(0.01)
"""
GONE, STAYS = "its connection ends without an answer", "it is at it until its client leaves"
POURS = "what it says comes, until its client leaves"
DENIED = b"stopped: PermissionError"
# What is sent, and how it ends for whoever sent it.
FAULTS = {
    "ends": ("/exit", b"", GONE),
    "crashes": ("/segfault", b"", GONE),
    "raises what nobody foresaw": ("/raise", b"", GONE),
    "answers what is no HTTP": ("/rubbish", b"", b""),
    "wants more memory than there is beside the model": ("/run", MEMORY, GONE),
    "prints the prompt": (
        "/run",
        b"import os; result = os.write(1, b'a prompt') + os.write(2, b'a prompt')",
        b"did it: 16",
    ),
    "writes a file": ("/run", b"open('/tmp/prompt', 'wb')", DENIED),
    "writes over the model": ("/run", b"import os; open(os.environ['MODEL'] + '/weights', 'r+b')", DENIED),
    "opens a socket": ("/run", b"import socket; socket.socket()", DENIED),
    "forks": ("/run", b"import os; os.fork()", DENIED),
    "starts threads without end": ("/run", HOARD, STAYS),
    "hangs": ("/hang", b"", STAYS),
    "floods": ("/run", FLOOD, POURS),
    "claims an answer of 10 GiB": ("/run", CLAIM, POURS),
}


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


async def send(engine, path, body):
    reader, writer = await engine.connect()
    writer.write(b"POST %b HTTP/1.1\r\nhost: engine\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
    return reader, writer


async def answer(reader):
    """What came to the end of an answer, or of the connection."""
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length)


async def fares(reader, ends):
    """Hold that a fault ends for its own client as it should."""
    if ends == POURS:
        async with asyncio.timeout(20):
            await reader.readexactly(65_536)
    elif ends == STAYS:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read()  # to its end
    elif ends == GONE:
        with pytest.raises(asyncio.IncompleteReadError):
            await answer(reader)
    else:
        assert (await answer(reader)).startswith(ends)


async def test_no_fault_of_a_request_is_noticed_by_another_clients_in_the_same_engine(faulty):
    said: list[str] = []
    async with faulty.service(SIZES, model=MODEL, say=said.append) as service:
        (seat,) = service._seats
        for fault, (path, body, ends) in FAULTS.items():
            ours, our_end = await send(seat.engine, "/run", OURS)
            theirs, their_end = await send(seat.engine, path, body)
            await fares(theirs, ends)
            assert await answer(ours) == b"did it: whole", fault
            their_end.transport.abort()
            our_end.close()
    assert said == []
