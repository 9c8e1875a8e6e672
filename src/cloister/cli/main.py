"""`cloister`: finds the command, runs it, and turns every error of ours into a sentence and an exit code.

Commands are imported when they are called, so that `cloister --help` is fast and a client's install, which lacks the
services' libraries, runs everything that a client needs. A new command is one line of `COMMANDS`.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import click

from cloister.cli.exit_codes import FOLDER, INTERRUPTED, pointer, table
from cloister.errors import CloisterError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """Where a command is, what it is for, whether it needs the services' libraries, and how often it is wanted."""

    place: str
    says: str
    node: bool = False
    daily: bool = False


COMMANDS: Final[Mapping[str, Entry]] = {
    "up": Entry("cloister.cli.up:up", "Start a whole local system and keep it running.", node=True, daily=True),
    "serve": Entry("cloister.cli.serve:serve", "Serve a sealed model, on a local system.", node=True, daily=True),
    "down": Entry("cloister.cli.down:down", "End the local system.", daily=True),
    "status": Entry("cloister.cli.status:status", "Say what of the local system runs.", daily=True),
    "env": Entry("cloister.cli.env:env", "Print the variables that point OpenAI clients here.", daily=True),
    "transcribe": Entry("cloister.cli.transcribe:transcribe", "Turn speech into text, through the chain.", daily=True),
    "exec": Entry("cloister.cli.exec:exec_", "Run a program whose OpenAI client goes through the chain.", daily=True),
    "verify": Entry("cloister.cli.verify:verify", "Examine the service, every step of it.", daily=True),
    "doctor": Entry("cloister.cli.doctor:doctor", "Check what this machine has, and say what to do.", daily=True),
    "demo": Entry("cloister.cli.demo:demo", "All of it on one spoken sentence, cleaned up after.", node=True),
    "contract": Entry("cloister.cli.contract:contract", "Contracts: write, sign, log, change and end them."),
    "receipt": Entry("cloister.cli.receipt:receipt", "Kept receipts: check them, offline."),
    "token": Entry("cloister.cli.token:token", "A verifier's tokens: check them, offline."),
    "secret": Entry("cloister.cli.secret:secret", "Secrets and asset keys: give, grant, list, take back."),
    "section": Entry("cloister.cli.section:section", "What each persona alone gives a task: write, seal, carry it."),
    "engine": Entry("cloister.cli.engine:engine", "Engines: list them, install what they need."),
    "model": Entry("cloister.cli.model:model", "Models: sign, seal, check and open them."),
    "key": Entry("cloister.cli.key:key", "Keys of a contract: list, rotate, retire, recover."),
    "release": Entry("cloister.cli.release:release", "What a KMS let out, to whom, by the log."),
    "node": Entry("cloister.cli.node:node", "Certificates of attested nodes, for programs that speak TLS."),
    "ledger": Entry("cloister.cli.ledger:ledger", "The log: copy it, prove what is in it."),
    "config": Entry("cloister.cli.config:config", "Settings: check a file, show what is in force."),
    "service": Entry("cloister.cli.service:service", "One service by itself."),
    "deploy": Entry("cloister.cli.deploy:deploy", "An operator's machines: roll out, look, drain, roll back."),
    "machines": Entry("cloister.cli.machines:machines", "Each role on a machine of its own.", node=True),
    "sandbox": Entry("cloister.cli.sandbox:sandbox", "What engines are confined in: show it, test it.", node=True),
    "workload": Entry("cloister.cli.workload:workload", "What a service started here would run.", node=True),
    "appraisal-policy": Entry(
        "cloister.cli.appraisal_policy:appraisal_policy", "Appraisal policies: say what one takes, begin one."
    ),
    "evidence": Entry("cloister.cli.evidence:evidence", "Evidence of hardware: what a TEE says of itself."),
    "endorsements": Entry(
        "cloister.cli.endorsements:endorsements", "What vendors say of hardware: fetch, carry, list it."
    ),
    "completion": Entry("cloister.cli.completion:completion", "Completion of commands in bash, zsh and fish."),
}
SECTIONS: Final = (("Daily work", True), ("And by subject", False))

EPILOG: Final = f"""\b
Examples:
  cloister up                          start everything; ctrl-C ends it
  eval "$(cloister env)"               in another shell: point OpenAI clients here
  cloister transcribe speech.wav       or send one file yourself
  cloister verify                      see every check that a request depends on
  cloister transcribe --help           every command has examples in its help

\b
Exit codes ({FOLDER}/):
{table()}
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; of one that is not there, the nearest is named."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"no such command: {name}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help."""
        for title, daily in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name, entry.says) for name, entry in COMMANDS.items() if entry.daily == daily])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names that begin so; nothing is imported for it, since a person waits at the tab key."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only completion pays for it

        named = [
            CompletionItem(name, help=entry.says) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]


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
    except OSError as error:  # the interpreter shall not stumble over it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # then whoever read our output has left, having had enough
            code = _tell_machine(error)
    sys.exit(code)


def run() -> int:
    """Run the command line of this process; its exit code."""
    try:
        code = cli.main(prog_name="cloister", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _tell_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except CloisterError as error:
        return _tell(error)
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _tell_machine(error)
    return code if isinstance(code, int) else 0


def _tell_usage(error: click.ClickException) -> int:
    """What click has against the command line, in the form of our own errors."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    said = " ".join(error.format_message().split()).rstrip(".")  # lists of choices come on lines of their own
    where = "cloister" if context is None else context.command_path
    for line in (f"cloister: {said[:1].lower()}{said[1:]}", f"  how it is used: {where} --help"):
        click.echo(line, err=True)
    click.echo(f"  {pointer(error.exit_code)}", err=True)
    return error.exit_code


def _tell_machine(error: OSError) -> int:
    from cloister.cli.failure import of_machine  # noqa: PLC0415 - only a failing command pays for it

    return _tell(of_machine(error))


def _tell(error: CloisterError) -> int:
    from cloister.cli.failure import show  # noqa: PLC0415 - only a failing command pays for it

    show(error)
    return error.exit_code
