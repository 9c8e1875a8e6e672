"""Make docs/cli.md from the commands themselves with --write; by itself, say if it is old."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cloister.cli.exit_codes import EXIT_CODES
from cloister.cli.main import COMMANDS, SECTIONS, cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Made from the code by `make docs`: what `--help` says of each command.

* Results go to standard output, sentences about them to standard error. Colours appear on a terminal only, and never
  with `NO_COLOR` set.
* `--json` prints what a program can read, wherever there is something to read.
* A value that others must not see in the list of processes is given as `@FILE`, or `@-` for standard input.
* `cloister completion bash`, `zsh` or `fish` prints what makes that shell complete commands, options and files.
* Under every error stands the page of its exit code:

"""


def page() -> str:
    """The whole page."""
    codes = "\n".join(f"| [{one.code}](exit-codes/{Path(one.page).name}) | {one.says} |" for one in EXIT_CODES)
    parts = [f"{HEAD}| exit code | |\n|---|---|\n{codes}\n"]
    for title, daily in SECTIONS:
        parts.append(f"\n## {title}\n")
        parts += [text for name, entry in COMMANDS.items() if entry.daily == daily for text in _of(name)]
    return "".join(parts)


def _of(name: str) -> Iterator[str]:
    parent = click.Context(
        cli, info_name="cloister", terminal_width=100, max_content_width=100, help_option_names=["-h", "--help"]
    )
    command = cli.get_command(parent, name)
    assert command is not None
    yield from _help(command, name, parent)


def _help(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _help(found, inner, context)
        return
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n### {context.command_path}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is old: make docs")
