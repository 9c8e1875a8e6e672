"""`cloister completion SHELL`: the lines with which a shell completes commands, options and files."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

VARIABLE: Final = "_CLOISTER_COMPLETE"
EPILOG: Final = """\b
Examples:
  echo 'eval "$(cloister completion bash)"' >> ~/.bashrc
  echo 'eval "$(cloister completion zsh)"' >> ~/.zshrc      # after compinit
  cloister completion fish > ~/.config/fish/completions/cloister.fish

Then begin a new shell. bash 4.4 or newer, with the package bash-completion or without.
"""


@click.command(epilog=EPILOG)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL (bash, zsh or fish) complete cloister's commands, options and files."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "cloister", VARIABLE)
    click.echo(script.source_template % script.source_vars())  # its `source()` would start a bash, to see its version
