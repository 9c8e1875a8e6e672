"""Proves that this machine can start something in a sandbox: by starting it, with the very arguments of the profile."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from cloister.sandbox import gvisor, landlock_only
from cloister.sandbox.advice import advice
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.place import bundle
from cloister.sandbox.profile import (
    SANDBOX_UID,
    STAGE_PLACEHOLDER,
    USER_PLACEHOLDER,
    Limits,
    Tool,
    bubblewrap_arguments,
)
from cloister.sandbox.second_stage import landlock_abi

_SECONDS = 10


def tried(
    tool: Tool, starter: tuple[str, ...], limits: Limits, *, dropped: bool, devices: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], str]:
    """The tool's arguments, and gVisor's configuration: those with which this machine started something.

    Devices are given by bubblewrap alone.

    Raises:
        SandboxUnavailable: it cannot.
    """
    if tool == "bwrap":
        arguments = bubblewrap_arguments(
            scratch_bytes=limits.scratch_bytes, model_bytes=limits.model_bytes, devices=devices
        )
        _try_bubblewrap(starter, arguments)
        return arguments, ""
    if tool == "landlock":
        _require_for_landlock(dropped=dropped)
        return landlock_only.arguments(), ""
    configuration = gvisor.configuration(limits)
    refusals = []
    for one in gvisor.PLATFORMS:
        try:
            _try_gvisor(starter, gvisor.arguments(one), configuration, dropped=dropped)
        except SandboxUnavailable as error:
            refusals.append(error)
        else:
            return gvisor.arguments(one), configuration
    raise refusals[-1]


def _require_for_landlock(*, dropped: bool) -> None:
    if not dropped:
        raise SandboxUnavailable(
            "Landlock alone wants a user of the engine's own, which only root can give: start the gateway as root"
        )
    if not landlock_abi():
        raise SandboxUnavailable(
            "this kernel has no Landlock: it has to be built in, and named in /sys/kernel/security/lsm"
        )


def _try_bubblewrap(starter: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Start `true` with the profile's own arguments, less the descriptors and the stage."""
    with_stage = ["/usr" if argument == STAGE_PLACEHOLDER else argument for argument in arguments]
    trial = with_stage[: with_stage.index("--seccomp")]
    _run([*starter, *trial, "--", "/usr/bin/true"], "bubblewrap")


def _try_gvisor(starter: tuple[str, ...], arguments: tuple[str, ...], configuration: str, *, dropped: bool) -> None:
    """Start `true` in a bundle of its own."""
    with tempfile.TemporaryDirectory(prefix="cloister-gvisor-") as folder:
        place = bundle(Path(folder), dropped=dropped)
        place.write_configuration(configuration, Path("/usr"), ("/usr/bin/true",))
        _run([place.filled(argument, Path("/usr")) for argument in (*starter, *arguments)], "runsc")


def _run(command: list[str], what: str) -> None:
    command = [argument.replace(USER_PLACEHOLDER, str(SANDBOX_UID)) for argument in command]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxUnavailable(f"{what} did not start within {_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise SandboxUnavailable(f"this machine cannot hold the sandbox: {said or 'no reason given'}. {advice()}")
