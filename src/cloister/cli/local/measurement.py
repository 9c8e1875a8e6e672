"""What services started here would run: measured in a child that is started exactly as they are."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cloister.cli.exit_codes import pointer
from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.errors import CloisterError
from cloister.formats.contract import Tier
from cloister.sandbox.closure import staging_folder
from cloister.services.gateway.engine_choice import Held, chosen_engine, measured_beside
from cloister.services.gateway.security import Runs
from cloister.tee.launch import ENVIRONMENT, measured_python
from cloister.tee.measurement import measure_this_process

CHILD_SECONDS = 300.0  # on a machine with other work, which stages an engine of a gigabyte for the first time


class NotMeasured(CloisterError):
    """The child could not measure; its own words say why."""


class MeasuredWrongly(NotMeasured):
    """The child was asked for what makes no sense, as a state folder that cannot be used."""

    exit_code = 2


class MeasurementRefused(NotMeasured):
    """The child refused to measure what it is."""

    exit_code = 3


class CannotRunHere(NotMeasured):
    """This machine lacks something."""

    exit_code = 4


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, in hexadecimal."""

    workload: str  # SHA-384, of a KMS
    gateway: str  # SHA-384, the sandbox profile included
    sandbox: str  # SHA-256, of the profile
    engine: str
    model: str
    tier: Tier  # of the sandbox
    manifest: dict[str, str]  # SHA-256 of every file that is measured, by its name
    sealed: str = ""  # the name of the sealed model; empty where the engine has its own

    def runs(self) -> Runs:
        """The gateway's part of it."""
        sandbox, engine, model = (bytes.fromhex(text) for text in (self.sandbox, self.engine, self.model))
        return Runs(sandbox, engine, model, self.tier)

    def differences(self, before: Mapping[str, str]) -> list[str]:
        """The names of files that were added, removed or changed since `before`."""
        names = self.manifest.keys() | before.keys()
        return sorted(name for name in names if self.manifest.get(name) != before.get(name))


def measure_here(state: StateFolder, engine: str, model: Path | None, how: Held) -> Measurement:
    """Measure this process, and stage the engine.

    Raises:
        UsageError, MalformedInput: what lies at `model` is no sealed model.
        Refused, SandboxUnavailable: this process, or this machine, cannot run as it must; or the model is not whole.
    """
    state.prepare()
    measured, chosen = measure_this_process({}), chosen_engine(engine, model, how)
    runs = chosen.runs(chosen.staged(staging_folder(state.root)))
    return Measurement(
        workload=measured.workload.hex(),
        gateway=measured.with_extra(measured_beside(chosen.plan, chosen.engine)).workload.hex(),
        sandbox=runs.sandbox.hex(),
        engine=runs.engine.hex(),
        model=runs.model.hex(),
        tier=runs.tier,
        manifest={name: digest.hex() for name, digest in measured.manifest},
        sealed="" if chosen.model is None else chosen.model.manifest.name,
    )


def measure_in_child(state: StateFolder, engine: str, model: Path | None, how: Held) -> Measurement:
    """Measure a child of this process.

    Raises:
        NotMeasured: it could not; in its words.
    """
    command = [*measured_python(), "-m", "cloister", "workload", "measure", "--engine", engine]
    command += ["--state", str(state.root)]
    command += ["--here", msgspec.json.encode(how.sizes).decode(), "--sandbox", how.tool]
    command += [] if model is None else ["--model", str(model)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            command, env=ENVIRONMENT, capture_output=True, timeout=CHILD_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(f"measuring took more than {CHILD_SECONDS:.0f} s") from error
    if done.returncode:
        said = _said(done.stderr.decode(errors="replace"), done.returncode)
        kind = {2: MeasuredWrongly, 3: MeasurementRefused, 4: CannotRunHere}.get(done.returncode, NotMeasured)
        raise kind(said or f"the measuring process ended with {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Measurement)


def _said(text: str, code: int) -> str:
    """The child's error without what this process says again: whose it is, and the page of its exit code."""
    return text.strip().removesuffix(pointer(code)).strip().removeprefix("cloister: ")


def keep_manifest(state: StateFolder, measurement: Measurement) -> None:
    """Keep the manifest for the next start."""
    replace_file(state.manifest, msgspec.json.encode(measurement.manifest))
