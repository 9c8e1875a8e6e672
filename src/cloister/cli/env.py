"""`cloister env`: the variables that point OpenAI clients at the local system."""

from __future__ import annotations

import os
import shlex

import click
import msgspec

from cloister.cli.pointed import pointed
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.system_record import running
from cloister.errors import UsageError

EPILOG = """\b
Examples:
  eval "$(cloister env)"
  curl -H "Authorization: Bearer $OPENAI_API_KEY" -F file=@speech.wav -F model=whisper-1 \\
       "$OPENAI_BASE_URL/audio/transcriptions"

The key is this machine's own: it keeps its other users out of the proxy, and never leaves the machine. Also printed:
OPENAI_API_BASE, the older name, and NO_PROXY with 127.0.0.1 added, so that a web proxy gets nothing in the clear.
"""


@click.command(epilog=EPILOG)
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the variables as JSON.")
def env(state: StateFolder, *, as_json: bool) -> None:
    """Print OPENAI_BASE_URL and OPENAI_API_KEY of the local system, for a shell to evaluate."""
    own = os.environ  # noqa: TID251 - what is there is added to
    variables = pointed(own, running(state).base_url, _token(state))
    if as_json:
        click.echo(msgspec.json.encode(variables).decode())
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _token(state: StateFolder) -> str:
    try:
        return state.token.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"the token {state.token} cannot be read: {error.strerror}") from error
