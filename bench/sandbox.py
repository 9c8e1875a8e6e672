"""What each tool that confines engines costs: the start of one, and a small request, interleaved on one machine.

    PYTHONPATH=src .venv/bin/python bench/sandbox.py [--requests 150] [--starts 5]

As root, or as an ordinary user (then without Landlock alone). A tool that cannot be had here is named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cloister.formats.binary_http import Request
from cloister.sandbox.closure import ECHO, StagedEngine, stage
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.plan import Plan, plan
from cloister.sandbox.profile import Tool
from cloister.sandbox.service import EngineService

TOOLS: tuple[Tool, ...] = ("bwrap", "landlock", "gvisor")
SMALL = Request("GET", "http", "engine", "/nothing", (), b"")  # answered with an error: what is measured is the way


def plans() -> dict[Tool, Plan]:
    """Of each tool that can be had."""
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = plan(ECHO.sizes, tool=tool)
        except SandboxUnavailable as error:
            sys.stdout.write(f"{tool}: {error}\n")
    return found


async def starts(planned: dict[Tool, Plan], staged: StagedEngine, run: Path, number: int) -> dict[Tool, list[float]]:
    """Seconds from nothing to the first answer, the engine's test of itself included."""
    took: dict[Tool, list[float]] = {tool: [] for tool in planned}
    for _ in range(number):
        for tool, one in planned.items():
            service = EngineService(one, staged, run)
            begun = time.perf_counter()
            await service.start()
            took[tool].append(time.perf_counter() - begun)
            await service.stop()
    return took


async def requests(planned: dict[Tool, Plan], staged: StagedEngine, run: Path, number: int) -> dict[Tool, list[float]]:
    """Seconds of a small request, one at a time, each tool's in turn."""
    took: dict[Tool, list[float]] = {tool: [] for tool in planned}
    services = {tool: EngineService(one, staged, run) for tool, one in planned.items()}
    try:
        for service in services.values():
            await service.start()
        for _ in range(number):
            for tool, service in services.items():
                begun = time.perf_counter()
                await service.ask(SMALL, seconds=60)
                took[tool].append(time.perf_counter() - begun)
    finally:
        for service in services.values():
            await service.stop()
    return took


async def measured(planned: dict[Tool, Plan], staged: StagedEngine, run: Path, asked: argparse.Namespace) -> None:
    """Measure, and print a line for each tool; the last line is JSON."""
    started = await starts(planned, staged, run, asked.starts)
    answered = await requests(planned, staged, run, asked.requests)
    first = statistics.median(answered[next(iter(planned))])
    figures: dict[str, float] = {"load": round(os.getloadavg()[0], 1)}
    for tool, times in answered.items():
        start, median = statistics.median(started[tool]) * 1000, statistics.median(times) * 1000
        spread = f"{min(times) * 1000:.2f} to {max(times) * 1000:.2f}"
        sys.stdout.write(f"{tool:<9} start {start:5.0f} ms, request {median:6.2f} ms ({spread})\n")
        figures |= {f"{tool}_start_ms": round(start), f"{tool}_request_x": round(median / 1000 / first, 2)}
    sys.stdout.write(f"{json.dumps(figures)}\n")


def main() -> None:
    """Stage the engine where the sandbox's user can traverse to, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--starts", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as folder:
        Path(folder).chmod(0o755)
        run = Path(folder, "run")
        run.mkdir(mode=0o700)
        asyncio.run(measured(plans(), stage(ECHO, Path(folder, "stage")), run, asked))


if __name__ == "__main__":
    main()
