"""A ledger or a witness as a process: `ledger_process.py ledger|witness CONFIG.toml [STEP]`.

With STEP it kills itself, as `kill -9` does, at that durable step: before or after a commit, and before or after what
was committed is moved into the file, counted from when it has said that it is ready.
"""

import functools
import os
import signal
import sqlite3
import sys
import tomllib
from pathlib import Path

from cloister.errors import CloisterError
from cloister.hosting.settings import load
from cloister.services.ledger import service as ledger
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.witness import service as witness
from cloister.services.witness.settings import WitnessSettings


class Deadly(sqlite3.Connection):
    """Counts its durable steps down to the last."""

    ready: Path
    left: int

    def execute(self, sql, *parameters):
        durable = sql == "COMMIT" or "wal_checkpoint" in sql
        if durable:
            self._step()
        cursor = super().execute(sql, *parameters)
        if durable:
            self._step()
        return cursor

    def _step(self):
        if self.ready.exists():
            if Deadly.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            Deadly.left -= 1


if __name__ == "__main__":
    name, config = sys.argv[1].rstrip("0123456789"), Path(sys.argv[2])
    if sys.argv[3:]:
        Deadly.ready, Deadly.left = Path(tomllib.loads(config.read_text())["ready"]), int(sys.argv[3])
        setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Deadly))  # noqa: B010 - mypy
    try:
        if name == "ledger":
            ledger.run(load(LedgerSettings, service=name, config=config, environ={}, flags={}))
        else:
            witness.run(load(WitnessSettings, service=name, config=config, environ={}, flags={}))
    except CloisterError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
