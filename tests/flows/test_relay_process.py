import asyncio
import signal
import sys
import time
from pathlib import Path

from tests.doubles.http_peers import serving

from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from cloister.hosting.settings import load
from cloister.services.relay.service import run
from cloister.services.relay.settings import RelaySettings
run(load(RelaySettings, service="relay", config=Path(sys.argv[1]), environ={}, flags={}))
"""


async def test_the_relay_is_a_process_of_its_own_that_ends_when_told(tmp_path):
    async def kms(request):
        return Response(200, [(b"cache-control", b"max-age=60")], b"the bundle")

    ready = tmp_path / "port"
    async with serving(kms) as upstream:
        config = tmp_path / "relay.toml"
        config.write_text(
            f'port = 0\nbundle_urls = ["{upstream}/bundle"]\ngateway_urls = ["{upstream}/"]\nready = "{ready}"\n'
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(config), env={"PYTHONPATH": str(ROOT / "src")}
        )
        while not ready.exists():
            assert process.returncode is None
            await asyncio.sleep(0.02)
        client = HttpClient(Origin("127.0.0.1", int(ready.read_text())))
        async with client.exchange(b"GET", b"/bundle", [], seconds=5) as reply:
            assert await reply.body.read(100) == b"the bundle"
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
        assert time.monotonic() - told < 5
        await client.close()
