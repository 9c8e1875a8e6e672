"""A ledger or a witness as a process: `ledger_process.py ledger|witness CONFIG.toml`."""

import sys
from pathlib import Path

from cloister.errors import CloisterError
from cloister.hosting.settings import load
from cloister.services.ledger import service as ledger
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.witness import service as witness
from cloister.services.witness.settings import WitnessSettings

if __name__ == "__main__":
    name, config = sys.argv[1], Path(sys.argv[2])
    try:
        if name == "ledger":
            ledger.run(load(LedgerSettings, service=name, config=config, environ={}, flags={}))
        else:
            witness.run(load(WitnessSettings, service=name, config=config, environ={}, flags={}))
    except CloisterError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
