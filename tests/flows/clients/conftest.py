"""One local system, before it clients as their users install them; all install and run at the same time."""

import asyncio
import json
import os
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import pytest_asyncio
from tests.doubles.client_environments import NotInstalled, node_environment, python_environment
from tests.doubles.installation import Installation, local_system
from tests.speech import spoken

from cloister.client.trust_policy_file import read_trust_policy
from cloister.formats.trust_policy import format_trust_policy

PROGRAMS = Path(__file__).parent / "programs"
SENTENCE = "She left this morning."  # short: every client asks for it many times
RUN_SECONDS = 240


class Ran(NamedTuple):
    """A client's program that ended: what it printed, and its words of trouble."""

    out: str
    err: str

    @property
    def said(self):
        assert self.out, self.err
        return json.loads(self.out)


class Outcomes:
    """What the clients' programs said, by the clients' names."""

    def __init__(self, ran):
        self._ran = ran

    def __getitem__(self, client):
        ran = self._ran[client]
        if isinstance(ran, NotInstalled):
            pytest.skip(ran.reason)
        return ran.said


@pytest.fixture(scope="session")
def audio(tmp_path_factory):
    """A folder of files to send."""
    folder = tmp_path_factory.mktemp("audio")
    (folder / "speech.wav").write_bytes(spoken(SENTENCE, "awb", folder))
    (folder / "no-audio.wav").write_bytes(b"this is not audio at all")
    with (folder / "large.wav").open("wb") as file:
        file.truncate(25 * 1024 * 1024 + 1)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def installing(tmp_path_factory):
    """Tasks that install each client, or find out why it cannot be."""
    folder = tmp_path_factory.mktemp("clients")
    tasks = {
        "openai 2": asyncio.create_task(python_environment(folder / "openai-2", "openai>=2,<3")),
        "openai 3": asyncio.create_task(python_environment(folder / "openai-3", "openai>=3,<4")),
        "anthropic": asyncio.create_task(python_environment(folder / "anthropic", "anthropic")),
        "langchain": asyncio.create_task(langchain_environment(folder / "langchain")),
        "node": asyncio.create_task(node_environment(folder / "node", "openai")),
        "frameworks": asyncio.create_task(
            python_environment(folder / "frameworks", "langchain-openai", "litellm", "huggingface-hub")
        ),
    }
    yield tasks
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def langchain_environment(folder):
    """langchain's parser cuts audio with pydub, which runs ffmpeg."""
    made = await python_environment(folder, "langchain-community", "openai", "pydub", "imageio-ffmpeg")
    for ffmpeg in folder.glob("lib/python*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*"):
        (folder / "bin" / "ffmpeg").symlink_to(ffmpeg)
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(tmp_path_factory):
    """The local system, for clients that a test runs itself."""
    folder = tmp_path_factory.mktemp("clients-system")
    async with local_system(Installation(folder), folder / "state") as running:
        yield running


@pytest.fixture(scope="session")
def strict(system, tmp_path_factory):
    """A trust policy that does not take this machine's software TEE."""
    policy = msgspec.structs.replace(read_trust_policy(system.state / "trust-policy.toml"), unsafe=())
    path = tmp_path_factory.mktemp("strict") / "trust-policy.toml"
    path.write_text(format_trust_policy(policy, comment="takes hardware only"))
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def outcomes(installing, system, audio, strict):
    """What each client's program said. Installing begins first, and goes on while the system starts."""
    calls = PROGRAMS / "openai_calls.py"
    commands = {
        "openai 2, proxy": (calls, "proxy", audio, strict),
        "openai 2, transport": (calls, "httpx", audio, strict),
        "openai 3, proxy": (calls, "proxy", audio, strict),
        "openai 3, transport": (calls, "httpx2", audio, strict),
        "langchain": (PROGRAMS / "langchain_parser.py", audio / "speech.wav"),
        "node": (PROGRAMS / "openai_calls.mjs", audio),
    }
    ran = (run_client(system, installing[client.partition(",")[0]], *command) for client, command in commands.items())
    return Outcomes(dict(zip(commands, await asyncio.gather(*ran), strict=True)))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def at_once(outcomes, installing, system, audio):
    """What a client got for many requests at once, when nobody else asked for anything."""
    assert outcomes
    ran = await run_client(
        system, installing["openai 3"], PROGRAMS / "openai_at_once.py", "httpx2", audio / "no-audio.wav"
    )
    return Outcomes({"openai 3": ran})["openai 3"]


async def run_client(system, installing, *command, **variables):
    """Run a client's program, which knows of the local system by its variables alone; `variables` are others."""
    environment = await installing
    if isinstance(environment, NotInstalled):
        return environment
    home = environment.folder
    process = await asyncio.create_subprocess_exec(
        *map(str, (environment.program, *command)),
        cwd=home,
        env={
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "OPENAI_BASE_URL": system.record.base_url,
            "OPENAI_API_KEY": system.headers["Authorization"].removeprefix("Bearer "),
            "CLOISTER_STATE": str(system.state),
        }
        | variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(RUN_SECONDS):
        out, err = await process.communicate()
    return Ran(out.decode(), err.decode())
