"""Where a local system keeps everything: one folder, its owner's alone."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.client.local_system import default_folder
from cloister.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths of one system. Nothing is made by asking for a path."""

    root: Path

    @property
    def trust_policy(self) -> Path:
        """What this machine's client insists on, TOML."""
        return self.root / "trust-policy.toml"

    @property
    def memory(self) -> Path:
        """What this machine's client remembers of the log."""
        return self.root / "client-memory"

    @property
    def token(self) -> Path:
        """The bearer token of the proxy."""
        return self.root / "token"

    @property
    def receipts(self) -> Path:
        """Where the proxy keeps receipts."""
        return self.root / "receipts"

    @property
    def endorsements(self) -> Path:
        """What vendors say of their hardware, kept."""
        return self.root / "endorsements"

    @property
    def keys(self) -> Path:
        """Seeds of the keys that a local system owns: platform, log, witness, model owner, operator."""
        return self.root / "keys"

    @property
    def constitutions(self) -> Path:
        """The constitution's entries, first to current."""
        return self.root / "constitution.entries"

    @property
    def contracts(self) -> Path:
        """The contract's entries, first to current."""
        return self.root / "contract.entries"

    @property
    def agreed(self) -> Path:
        """The entries of the contract that parties signed and this system serves; not there where it serves its own."""
        return self.root / "agreed.entries"

    @property
    def manifest(self) -> Path:
        """What ran at the last start, file by file, to name what changed since."""
        return self.root / "measured.json"

    @property
    def settings(self) -> Path:
        """A person's own settings of the local system, TOML; need not be there."""
        return self.root / "settings.toml"

    @property
    def config(self) -> Path:
        """The services' settings, one TOML file each."""
        return self.root / "config"

    @property
    def data(self) -> Path:
        """The services' own data, one folder each."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """What the services say, one file each."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What holds only while the system runs."""
        return self.root / "run"

    def command(self, words: str) -> str:
        """The command line that does `words` with this folder, to be copied."""
        return f"cloister {words}" + (
            "" if self.root == default_folder() else f" --state {shlex.quote(str(self.root))}"
        )

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises:
            UsageError: they cannot be made, or others could read them.
        """
        try:
            for folder in (self.root, self.keys, self.config, self.data, self.logs, self.run, self.receipts):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            mode = self.root.stat()
        except OSError as error:
            raise UsageError(
                f"the state folder {self.root} cannot be used: {error.strerror}; name another: --state DIR"
            ) from error
        if mode.st_uid != os.geteuid():
            raise UsageError(f"the state folder {self.root} is another user's: name one of your own with --state DIR")
        if mode.st_mode & 0o077:
            raise UsageError(
                f"the state folder {self.root} must be yours alone, others may open it: chmod 700 {self.root}, or name"
                " another with --state DIR"
            )


def state_option(command: Command) -> Command:
    """The `--state` option, as `state`: a `StateFolder`."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="CLOISTER_STATE",
        default=default_folder,
        callback=lambda _context, _option, value: StateFolder(value.absolute()),
        help="The state folder.  [default: $CLOISTER_STATE, $XDG_STATE_HOME/cloister or ~/.local/state/cloister]",
        metavar="DIR",
    )(command)
