"""KMS and gateway as processes of their own, and what they would measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

from tests.doubles.users_environment import users_environment

from cloister.errors import Unavailable
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.services.gateway.security import Runs
from cloister.tee.launch import measured_python
from cloister.testing.local_system import LocalSystem

MEASURE = """
import json, sys
from pathlib import Path
from cloister.sandbox.closure import ECHO, stage, staging_folder
from cloister.sandbox.plan import plan
from cloister.services.gateway.engine_choice import measured_beside, what_runs
from cloister.tee.measurement import measure_this_process
planned = plan()
runs = what_runs(stage(ECHO, staging_folder(Path(sys.argv[1]))), planned)
kms = measure_this_process({})
gateway = kms.with_extra(measured_beside(planned))
digests = (kms.workload, gateway.workload, runs.sandbox, runs.engine, runs.model)
print(json.dumps([*(one.hex() for one in digests), runs.tier]))
"""


def measured(folder: Path, *, interpreter: str = "") -> tuple[bytes, bytes, Runs]:
    """What a KMS and a gateway started here would measure, found as `cloister up` finds it: in such a process."""
    said = subprocess.run(
        [*_python(interpreter), "-c", MEASURE, str(folder)],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    *digests, tier = json.loads(said)
    workload, gateway, sandbox, engine, model = (bytes.fromhex(text) for text in digests)
    return workload, gateway, Runs(sandbox, engine, model, tier)


def _python(interpreter: str) -> list[str]:
    return measured_python(interpreter or str(users_environment() / "venv" / "bin" / "python"))


def toml(values: dict[str, object]) -> str:
    """Settings as a file has them."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


class Service:
    """One service as a process of its own."""

    def __init__(self, name: str, folder: Path, values: dict[str, object], *, interpreter: str = "") -> None:
        self.ready = folder / f"{name}.port"
        config = folder / f"{name}.toml"
        security = values.pop("security", {})
        table = f"[security]\n{toml(security)}" if security else ""  # type: ignore[arg-type]
        config.write_text(toml({"port": 0, "ready": str(self.ready)} | values) + table)
        command = [
            *_python(interpreter),
            "-m",
            "cloister",
            "service",
            name,
            "--config",
            str(config),
        ]
        self.said = b""
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})

    async def serving(self) -> str:
        """Its URL, once it is ready."""
        async with asyncio.timeout(90):
            while not await self.answers_ready():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{int(self.ready.read_text())}"

    async def answers_ready(self) -> bool:
        """Whether it says that it is ready; `said` keeps its words."""
        if not self.ready.exists():
            return False
        try:
            self.said = await self.told("/ready")
        except Unavailable:
            return False
        return bool(json.loads(self.said)["ready"])

    async def told(self, path: str) -> bytes:
        """What it answers to GET `path`."""
        client = HttpClient(Origin.parse(self.url))
        try:
            async with client.exchange(b"GET", path.encode(), [], seconds=5) as reply:
                return await reply.body.read(10_000)
        finally:
            await client.close()

    async def end(self) -> int:
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 8)


def kms_settings(system: LocalSystem) -> dict[str, object]:
    constitution, contract = system.write_papers()
    return {
        "ledger_urls": [system.url("ledger")],
        "constitution": str(constitution),
        "contracts": [str(contract)],
        "platform_key": str(system.write_key("platform", system.platform_key)),
        "security": {"head_seconds": system.kms_security.head_seconds},
    }


def gateway_settings(system: LocalSystem, folder: Path) -> dict[str, object]:
    return {
        "kms_urls": [system.url("kms")],
        "contract": str(system.folder / "contract.entries"),
        "platform_key": str(system.write_key("platform", system.platform_key)),
        "state": str(folder),
        "run_folder": str(folder / "run"),
        "engine": "echo",
    }


@contextlib.asynccontextmanager
async def node(name: str, system: LocalSystem, values: dict[str, object], *, interpreter: str = ""):
    """A service that is ended, in time and in good order."""
    service = Service(name, system.folder, values, interpreter=interpreter)
    try:
        yield service
    finally:
        status = await service.end()
    assert status == 0, service.log.read_text()
