"""`cloister workload measure`: what services started here would run, file by file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import click
import msgspec

from cloister.cli.local.measurement import measure_here, measure_in_child
from cloister.cli.local.settings import engine_options, read_settings
from cloister.cli.state_folder import StateFolder, state_option
from cloister.sandbox.plan import Choice
from cloister.services.gateway.engine_choice import Held, SandboxSizes

EPILOG = """\b
Examples:
  cloister workload measure
  cloister workload measure --json > before.json     # and later: diff what changed

The workload measurement covers the interpreter, every installed distribution and shared object, and our code;
docs/formats/workload-measurement.md says how. Contracts and constitutions name it.
"""


@click.group()
def workload() -> None:
    """What a service started here would run, as its evidence would say and contracts name it."""


@workload.command(epilog=EPILOG, short_help="Measure the code, the sandbox profile, the engine, the model.")
@state_option
@engine_options
@click.option("--sandbox", type=click.Choice(get_args(Choice)), help="What confines it.  [default: auto]")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, each file's digest included.")
@click.option("--here", hidden=True, metavar="SIZES", help="Measure this very process, for cloister up.")
def measure(
    state: StateFolder,
    engine: str | None,
    model: Path | None,
    *,
    sandbox: Choice | None,
    as_json: bool,
    here: str | None,
) -> None:
    """Measure what a service started here would run: code, sandbox profile, engine, model."""
    settings = read_settings(state, os.environ, engine=engine, model=model)  # noqa: TID251 - read here, once
    sizes = settings.sizes if here is None else msgspec.json.decode(here, type=SandboxSizes)
    measure_it = measure_in_child if here is None else measure_here
    how = Held(sizes, tool=sandbox or settings.sandbox)
    measurement = measure_it(state, settings.engine, settings.model, how)
    if as_json or here is not None:
        click.echo(msgspec.json.encode(measurement).decode())
        return
    click.echo(f"kms       {measurement.workload}  ({len(measurement.manifest)} files)")
    click.echo(f"gateway   {measurement.gateway}  (the same and the sandbox profile)")
    click.echo(f"sandbox   {measurement.sandbox}  (of the tier {measurement.tier})")
    click.echo(f"engine    {measurement.engine}  ({settings.engine})")
    click.echo(f"model     {measurement.model}" + (f"  ({measurement.sealed}, sealed)" if measurement.sealed else ""))
