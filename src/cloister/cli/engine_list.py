"""`cloister engine list`: the engines, what they speak, and whether what they need is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import click
import msgspec

from cloister.cli.local.endpoints import ENDPOINTS, MODELS
from cloister.cli.terminal import say, say_json
from cloister.sandbox.closure import Engine, require_installed
from cloister.sandbox.errors import EngineDamaged, SandboxUnavailable
from cloister.sandbox.own_libraries import SERVICES, installing, lacking, own_folder
from cloister.services.gateway.engine_choice import ENGINES

# with the services: an engine's own libraries are in their environment; old: this Cloister wants others;
# damaged: a file that was installed is gone
Standing = Literal["installed", "old", "damaged", "with the services", "missing"]

EPILOG = """\b
Examples:
  cloister engine list
  cloister engine list --json | jq -r '.[] | select(.standing == "missing") | .install'

Any server of models that speaks one of these APIs is an engine, too: --engine ./its-folder, as
docs/howto/upstream-servers.md says. docs/howto/engines.md helps to choose.
"""


class SaidEngine(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of each engine."""

    name: str
    speaks: list[str]  # "POST /v1/embeddings"
    standing: Standing
    lacks: list[str]  # requirements that the folder of its own does not meet
    folder: str  # empty where it needs none
    install: str


@click.command(name="list", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print the engines as JSON.")
def list_(*, as_json: bool) -> None:
    """Say which engines there are, what they speak, and whether what they need is installed here."""
    said = [_said(name, engine) for name, engine in ENGINES.items()]
    if as_json:
        say_json(said)
        return
    for one in said:
        say(f"{one.name:<13} {_words(one.speaks)}\n{'':<13} {_standing(one)}")


def _said(name: str, engine: Engine) -> SaidEngine:
    lacks = [] if engine.extra == SERVICES else lacking(engine.extra)
    folder = own_folder(engine.extra)
    return SaidEngine(
        name=name,
        speaks=[f"{one.method} {one.path}" for one in ENDPOINTS[name]],
        standing=_is(engine, lacks),
        lacks=lacks,
        folder="" if engine.extra == SERVICES else str(folder),
        install=installing(name, engine.extra),
    )


def _is(engine: Engine, lacks: Sequence[str]) -> Standing:
    try:
        _ = engine.staged_distributions
    except SandboxUnavailable:
        return "missing"
    if is_damaged(engine):
        return "damaged"
    if not lacks:
        return "installed"
    return "old" if own_folder(engine.extra).is_dir() else "with the services"


def is_damaged(engine: Engine) -> bool:
    """Whether a file of an engine that is installed is gone."""
    try:
        require_installed(engine)
    except SandboxUnavailable as error:
        return isinstance(error, EngineDamaged)
    return False


def _words(speaks: Sequence[str]) -> str:
    """The endpoints by the names that the how-tos give them; every engine says its models."""
    models = {f"{one.method} {one.path}" for one in MODELS}
    return ", ".join(one.partition(" /v1/")[2] for one in speaks if one not in models)


def _standing(one: SaidEngine) -> str:
    if one.standing == "missing":
        return f"not installed: {one.install}"
    if one.standing == "damaged":
        return f"damaged, files are missing: {one.install}"
    if one.standing == "old":
        return f"installed in {one.folder}, without {', '.join(one.lacks)}: {one.install}"
    if one.standing == "with the services":
        return f"installed among the services' libraries, which measure it, too; by itself: {one.install}"
    return f"installed in {one.folder}" if one.folder else "installed with the services"
