"""A ledger or a witness as a process: `ledger_process.py ledger|witness CONFIG.toml [STEP]`.

With STEP it kills itself, as `kill -9` does, at that durable step: before or after a commit, and before or after what
was committed is synchronised, counted from when it has said that it is ready.
"""

import functools
import os
import signal
import sqlite3
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import CloisterError
from cloister.hosting.settings import load
from cloister.services.ledger import service as ledger
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.witness import service as witness
from cloister.services.witness.settings import WitnessSettings
from cloister.storage.log_copy import LogCopy


@dataclass
class Life:
    """Counts durable steps down to the last."""

    ready: Path
    left: int

    def step(self):
        if self.ready.exists():
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1

    def end_at_a_step(self):
        """Have SQLite's commits and the synchronisations of its log be steps."""
        life, synchronise = self, LogCopy.synchronise

        class Deadly(sqlite3.Connection):
            def execute(self, sql, *parameters):
                if sql != "COMMIT":
                    return super().execute(sql, *parameters)
                life.step()
                cursor = super().execute(sql, *parameters)
                life.step()
                return cursor

        def stepped(log):
            life.step()
            synchronise(log)
            life.step()

        setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Deadly))  # noqa: B010 - mypy
        setattr(LogCopy, "synchronise", stepped)  # noqa: B010 - mypy


if __name__ == "__main__":
    name, config = sys.argv[1].rstrip("0123456789"), Path(sys.argv[2])
    if sys.argv[3:]:
        Life(Path(tomllib.loads(config.read_text())["ready"]), int(sys.argv[3])).end_at_a_step()
    try:
        if name == "ledger":
            ledger.run(load(LedgerSettings, service=name, config=config, environ={}, flags={}))
        else:
            witness.run(load(WitnessSettings, service=name, config=config, environ={}, flags={}))
    except CloisterError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
