"""`cloister config`: checks settings files before a service is started with them, and shows what is in force."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from cloister.cli.absent_files import absent
from cloister.cli.chain import console
from cloister.cli.effective_settings import Setting, effective
from cloister.cli.service import NODE, settings_record
from cloister.cli.state_folder import StateFolder, state_option
from cloister.cli.terminal import printable
from cloister.errors import UsageError
from cloister.hosting.settings import BadSettings, read
from cloister.services.places import SERVICES

LOCAL = "up"  # the settings of a whole local system, in its settings.toml
NAMES = (LOCAL, NODE, *SERVICES)

CHECK_EPILOG = """\b
Examples:
  cloister config check kms.toml relay.toml
  cloister config check --service gateway /etc/cloister/berlin.toml
  cloister config check ~/.local/state/cloister/settings.toml

The service is told by the file's name (kms.toml; settings.toml is cloister up's) where --service does not say it. The
files alone are checked: variables CLOISTER_NAME__SETTING, which count for more, are shown by cloister config show.
A file that they name and that is not on this machine is a warning.
"""
SHOW_EPILOG = """\b
Examples:
  cloister config show                  of cloister up
  cloister config show gateway          as cloister up started it
  cloister config show relay --config /etc/cloister/relay.toml --json

Flags count for more than variables CLOISTER_NAME__SETTING, these for more than the file, the file for more than the
defaults. Settings below kms, gateway or security bear on security: evidence binds them, and signed terms name them.
"""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One file, and everything that is wrong with it."""

    file: str
    service: str
    good: bool
    wrong: Sequence[str]
    absent: Sequence[str] = ()  # files that it names and that are not here; the service may run elsewhere


@click.group()
def config() -> None:
    """Settings: check a file before a service is started with it, show what is in force and why."""


@config.command(epilog=CHECK_EPILOG, short_help="Check settings files, and name every wrong setting.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--service", type=click.Choice(NAMES), help="Whose settings they are.  [default: by the file's name]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file, a line each.")
def check(files: Sequence[Path], *, service: str | None, as_json: bool) -> None:
    """Check settings files: every unknown, missing or wrong setting is named with its line and what it may be."""
    checked = [_check(file, service or _service_of(file)) for file in files]
    for one in checked:
        if as_json:
            click.echo(msgspec.json.encode(one).decode())
        else:
            _show_checked(one)
    bad = [one.file for one in checked if not one.good]
    if bad:
        raise BadSettings([f"a service would not start with {', '.join(bad)}"])


@config.command(epilog=SHOW_EPILOG, short_help="Show every setting in force, and where it was set.")
@click.argument("service", metavar="[SERVICE]", type=click.Choice(NAMES), default=LOCAL)
@click.option("--config", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Its settings.")
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def show(service: str, file: Path | None, state: StateFolder, *, as_json: bool) -> None:
    """Show every setting in force of SERVICE: up, witness, ledger, kms, verifier, gateway, relay, proxy, deployment."""
    path = _file_of(service, state) if file is None else file
    environ = os.environ  # noqa: TID251 - settings are read here, once
    reading = read(settings_record(service), service=service, config=path, environ=environ, flags={})
    if reading.wrong:
        raise BadSettings(reading.wrong)
    settings = list(effective(settings_record(service), reading))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(settings)).decode())
    else:
        _show_settings(settings)


def _check(file: Path, service: str) -> Checked:
    try:
        reading = read(settings_record(service), service=service, config=file, environ={}, flags={})
    except BadSettings as error:
        return Checked(file=str(file), service=service, good=False, wrong=[str(error)])
    said = [
        f"{given.place}: {inner}: there is no {path} here; the service needs it where it starts"
        for name, given in reading.given.items()
        for inner, path in absent(name, given.value, reading.types[name])
    ]
    return Checked(file=str(file), service=service, good=not reading.wrong, wrong=reading.wrong, absent=said)


def _service_of(file: Path) -> str:
    name = LOCAL if file.name == "settings.toml" else file.stem
    if name not in NAMES:
        if file.is_dir():
            raise UsageError(f"{file} is a folder: name the settings files in it")
        if not file.exists():
            raise UsageError(f"there is no settings file {file}")
        raise UsageError(f"{file} does not tell by its name whose settings it has; say it with --service NAME")
    return name


def _file_of(service: str, state: StateFolder) -> Path | None:
    """The file that a local system would read or has written; None where there is none."""
    path = state.settings if service == LOCAL else state.config / f"{service}.toml"
    if not path.exists() and service != LOCAL:
        raise UsageError(f"there is no {path}: name a settings file with --config FILE, or start a system: cloister up")
    return path if path.exists() else None


def _show_checked(one: Checked) -> None:
    out = console()
    out.print(f"{'✓' if one.good else '✗'} {printable(one.file)}: settings of {one.service}")
    for sentence in one.wrong:
        out.print(f"  {printable(sentence)}")
    for sentence in one.absent:
        out.print(f"  warning: {printable(sentence)}")


def _show_settings(settings: Sequence[Setting]) -> None:
    out = console()
    width = max(len(one.name) for one in settings)
    column = max(len(one.value) for one in settings if len(one.value) <= 24)
    for one in settings:
        out.print(printable(f"{one.name:<{width}}  {one.value:<{column}}  {one.place}; {one.may_be}"))
