"""`cloister engine`: engines and what they need; a module for each verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from cloister.cli.main import Entry
from cloister.cli.verbs import Verbs

VERBS: Final[Mapping[str, Entry]] = {
    "list": Entry("cloister.cli.engine_list:list_", "Say which engines there are, and which are installed.", node=True),
    "install": Entry("cloister.cli.engine_install:install", "Install what an engine needs, by itself.", node=True),
}
EPILOG: Final = """\b
Examples:
  cloister engine list
  cloister engine install transformers whisper
  cloister serve ./sealed --engine transformers --model-key model.key
  cloister serve ./speech --engine whisper --model-key speech.key

Libraries that an engine alone needs, as torch, lie in a folder of its own in this environment. Services measure all
that they could load before they start, and no service loads these: the engine's own digest names them.
"""


@click.group(cls=Verbs, verbs=VERBS, epilog=EPILOG)
def engine() -> None:
    """Engines: which there are, and what they need."""
