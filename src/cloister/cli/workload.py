"""`cloister workload measure`: what services started here would run, file by file."""

from __future__ import annotations

import click
import msgspec

from cloister.cli.local.measurement import measure_here, measure_in_child
from cloister.cli.state_folder import StateFolder, state_option
from cloister.services.gateway.service import ENGINES

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
@click.option("--engine", type=click.Choice(list(ENGINES)), default="speech", show_default=True, help="The engine.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, each file's digest included.")
@click.option("--here", is_flag=True, hidden=True, help="Measure this very process, for cloister up.")
def measure(state: StateFolder, engine: str, *, as_json: bool, here: bool) -> None:
    """Measure what a service started here would run: code, sandbox profile, engine, model."""
    measurement = measure_here(state, engine) if here else measure_in_child(state, engine)
    if as_json or here:
        click.echo(msgspec.json.encode(measurement).decode())
        return
    click.echo(f"kms       {measurement.workload}  ({len(measurement.manifest)} files)")
    click.echo(f"gateway   {measurement.gateway}  (the same and the sandbox profile)")
    click.echo(f"sandbox   {measurement.sandbox}")
    click.echo(f"engine    {measurement.engine}  ({engine})")
    click.echo(f"model     {measurement.model}")
