"""`cloister`: finds the command, runs it, and turns every error of ours into a sentence and an exit code.

Commands are imported when they are called, so that `cloister --help` is fast and a client's install, which lacks the
services' libraries, runs everything that a client needs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn

import click

from cloister.errors import CloisterError, UsageError

EXIT_INTERRUPTED: Final = 130


class Entry(NamedTuple):
    """Where a command is, what it is for, and whether it needs the services' libraries."""

    place: str
    says: str
    node: bool = False


COMMANDS: Final[Mapping[str, Entry]] = {
    "up": Entry("cloister.cli.up:up", "Start a whole local system and keep it running.", node=True),
    "down": Entry("cloister.cli.down:down", "End the local system."),
    "status": Entry("cloister.cli.status:status", "Say what of the local system runs."),
    "env": Entry("cloister.cli.env:env", "Print the variables that point OpenAI clients here."),
    "transcribe": Entry("cloister.cli.transcribe:transcribe", "Turn speech into text, through the chain."),
    "exec": Entry("cloister.cli.exec:exec_", "Run a program whose OpenAI client goes through the chain."),
    "verify": Entry("cloister.cli.verify:verify", "Examine the service, every step of it."),
    "receipt": Entry("cloister.cli.receipt:receipt", "Check kept receipts, offline."),
    "demo": Entry("cloister.cli.demo:demo", "Show it all on one spoken sentence, and clean up.", node=True),
    "doctor": Entry("cloister.cli.doctor:doctor", "Check what this machine has, and say what to do."),
    "service": Entry("cloister.cli.service:service", "Run one service by itself."),
    "sandbox": Entry("cloister.cli.sandbox:sandbox", "Show and test what engines are confined in.", node=True),
    "measure": Entry("cloister.cli.measure:measure", "Measure what a service started here would run.", node=True),
}

EPILOG: Final = """\b
Examples:
  cloister up                          start everything; ctrl-C ends it
  eval "$(cloister env)"               in another shell: point OpenAI clients here
  cloister transcribe speech.wav       or send one file yourself
  cloister verify                      see every check that a request depends on

\b
Exit codes: 0 done, 1 a fault of ours, 2 wrong usage, 3 refused by a check,
4 something that is needed does not answer.
"""


class Lazy(click.Group):
    """A group whose commands are imported when they are needed; its help needs none of them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else load(cmd_name, entry)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.says) for name, entry in COMMANDS.items()])


class NodeMissing(UsageError):
    """The command needs the services' libraries."""


def load(name: str, entry: Entry) -> click.Command:
    """Import a command.

    Raises:
        NodeMissing: it needs libraries that this install does not have.
    """
    module, _, attribute = entry.place.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not entry.node or (error.name or "").startswith("cloister"):
            raise
        raise NodeMissing(
            f"cloister {name} runs services, and this install is a client's ({error.name} is missing);"
            " on Linux: pip install 'cloister[node]'"
        ) from error
    assert isinstance(command, click.Command)
    return command


@click.group(
    cls=Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="cloister")
def cli() -> None:
    """Confidential AI: what you send is opened only in code that was examined first.

    Cloister encrypts prompts and audio on this machine to a key whose whole chain it checked: the contract, the code
    that runs, the witnessed log, the receipt of every answer.
    """


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has left; the interpreter shall not stumble over it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run() -> int:
    """Run the command line of this process; its exit code."""
    try:
        code = cli.main(prog_name="cloister", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except CloisterError as error:
        from cloister.cli.failure import show  # noqa: PLC0415 - only a failing command pays for it

        show(error)
        return error.exit_code
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0
