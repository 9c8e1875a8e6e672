"""Engines run here by themselves, outside of the sandbox, with what `cloister engine install` installed."""

import sys
from pathlib import Path

sys.path += map(str, sorted(Path(sys.prefix, "engines").glob("*")))
