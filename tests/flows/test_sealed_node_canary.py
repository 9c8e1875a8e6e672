"""A whole system serves a sealed model whose weights are marked; then nothing of them is anywhere but in the sandbox.

The key goes the way that it goes: deposited with the KMS, given to the gateway by the contract's grant, the artifact
opened by the gateway into the memory of a server's sandbox. The memory of every process, what each has open, and every
file of the system and of the usual places are searched. The same search finds the marks in the sandbox.
"""

import asyncio
import os
import secrets
import time
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from tests.doubles import traces
from tests.doubles.installation import Installation, local_system
from tests.doubles.upstreams import folder_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of undumpable processes takes root"),
]
PLACES = ("/var/tmp", "/dev/shm", "/var/lib/cloister", "/var/log", "/run")
WEIGHTS = secrets.token_bytes(3 * 2**20)
MARKS = {"weights": {WEIGHTS[at : at + traces.WINDOW] for at in range(100, len(WEIGHTS), 2**20)}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory):
    """A system that serves the sealed model; the plain one is no more. And since when, in seconds since 1970."""
    folder = tmp_path_factory.mktemp("sealed-node")
    plain, since = folder / "plain", time.time() - 1
    plain.mkdir()
    (plain / "weights.bin").write_bytes(WEIGHTS)
    made = Installation(folder)
    ran = await made.run("model", "seal", plain, "-o", folder / "sealed")
    assert ran.code == 0, ran.err
    (plain / "weights.bin").unlink()
    command = ("serve", folder / "sealed", "--engine", folder_of(folder / "software"))
    async with local_system(
        made, folder / "state", command=(*command, "--model-key", folder / "sealed.key")
    ) as running:
        await ask(running)
        yield running, since


async def ask(system):
    """Have the server answer, so that all that serves a request has been at work."""
    question = {"model": "m", "messages": [{"role": "user", "content": "count"}]}
    url = f"{system.record.base_url}/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=question, headers=system.headers) as response:
        assert response.status == 200, await response.text()


async def test_no_process_but_the_sandboxs_own_has_anything_of_the_weights(serving):
    system, _ = serving
    outside = system.outside_the_engine()
    assert {"gateway", "kms", "ledger", "proxy", "relay", "witness"} < set(outside.values())
    searched = {(name, pid): traces.in_memory(MARKS, pid, rights="r") for pid, name in outside.items()}
    searched |= {(name, -pid): traces.in_open_files(MARKS, pid) for pid, name in outside.items()}
    assert {place: found for place, found in searched.items() if found} == {}


async def test_the_weights_are_in_the_sandbox(serving):
    system, _ = serving
    assert {frozenset(in_its_model(pid)) for pid in system.engine()} == {frozenset(MARKS)}


def in_its_model(pid):
    """What root finds where a process that is confined has its model."""
    return set().union(*(traces.in_file(MARKS, path) for path in Path(f"/proc/{pid}/root/model").iterdir()))


async def test_no_file_of_the_system_or_of_the_usual_places_has_anything_of_them(serving):
    system, since = serving
    there, looked_at = await asyncio.to_thread(traces.in_files, MARKS, system.state.parent, *PLACES, since=since)
    assert there == {}
    assert looked_at > 100
