import asyncio
import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cloister.errors import Unavailable, UsageError
from cloister.hosting.loopback import announce, listen, port_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_any_address_but_the_loopbacks_is_refused_by_name_without_tls(address):
    with pytest.raises(UsageError, match=f"^{address} is not served without TLS.*give the table .tls."):
        listen(address, 0)


@pytest.mark.parametrize("address", ["localhost", "", "0", "127.0.0.1:80"])
def test_a_name_is_no_address(address):
    with pytest.raises(UsageError, match=f"^{address} is not served: it is no IP address"):
        listen(address, 0)


def test_every_address_of_the_loopback_interface_is_served():
    with listen("127.0.0.2", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.2"


def test_a_taken_port_is_said_to_be_unavailable():
    with listen("127.0.0.1", 0) as listener, pytest.raises(Unavailable, match="is taken by another program"):
        listen("127.0.0.1", port_of(listener))


def test_readiness_goes_into_a_file_or_a_descriptor(tmp_path):
    announce(8080, tmp_path / "port")
    assert [path.name for path in tmp_path.iterdir()] == ["port"]
    assert (tmp_path / "port").read_text() == "8080\n"
    reading, writing = os.pipe()
    announce(8080, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"8080\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_goes_to_systemds_socket(tmp_path, abstract):
    path = f"@cloister-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path.replace("@", "\0"))
        announce(8080, Path(path))
        assert manager.recv(100) == b"READY=1"


async def start(ready, mode):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tests/doubles/starlette_service.py"),
        str(ready),
        mode,
        env={"PYTHONPATH": str(ROOT / "src")},
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_request_in_flight_end_and_the_process_succeeds(tmp_path, number):
    ready = tmp_path / "port"
    process = await start(ready, "serve")
    while not ready.exists():
        assert process.returncode is None
        await asyncio.sleep(0.02)
    url = f"http://127.0.0.1:{int(ready.read_text())}/slow"
    with socket.create_connection(("127.0.0.1", int(ready.read_text()))):  # an idle connection holds nothing up
        asked = asyncio.create_task(asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))
        await asyncio.sleep(0.3)
        stopped = time.monotonic()
        process.send_signal(number)
        assert await asked == b"done"
        assert await asyncio.wait_for(process.wait(), 5) == 0
    assert time.monotonic() - stopped < 5
    assert await process.stderr.read() == b""


async def test_a_second_signal_ends_the_process_at_once(tmp_path):
    ready = tmp_path / "port"
    process = await start(ready, "serve")
    while not ready.exists():
        assert process.returncode is None
        await asyncio.sleep(0.02)
    _, writer = await asyncio.open_connection("127.0.0.1", int(ready.read_text()))
    writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.3)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
    assert await asyncio.wait_for(process.wait(), 0.4) == -signal.SIGTERM
    writer.close()
    await process.stderr.read()


async def test_a_start_up_that_still_waits_is_stopped_too(tmp_path):
    process = await start(tmp_path / "port", "hang")
    assert await process.stderr.readline() == b"starting\n"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 5) == 0
    await process.stderr.read()


async def test_a_start_up_that_fails_ends_the_process_unannounced(tmp_path):
    process = await start(tmp_path / "port", "fail")
    assert await asyncio.wait_for(process.wait(), 10) == 1
    assert not (tmp_path / "port").exists()
    assert b"the service's start-up failed" in await process.stderr.read()
