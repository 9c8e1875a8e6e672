"""The soak, for a few seconds: processes under load, with faults, and nothing lost but what was broken on purpose."""

import asyncio
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_a_short_soak_has_no_error_that_was_not_made_on_purpose():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "bench" / "soak.py"),
        *("--seconds", "4"),
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 200)
    figures = json.loads(said.decode().splitlines()[-1])
    assert figures["met"], said.decode()
    assert process.returncode == 0
    assert figures["answered"] > 10
    assert figures["injected"]["killed_engine"] >= 1
    assert figures["memory"].keys() >= {"gateway", "relay", "kms", "ledger", "witness", "proxy"}
