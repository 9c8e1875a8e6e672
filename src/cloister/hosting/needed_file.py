"""A file that has to be there when the service starts whose settings name it; others a service makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

NeededFile = Annotated[Path, "needed"]  # the type of such a setting
