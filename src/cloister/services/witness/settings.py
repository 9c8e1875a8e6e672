"""A witness's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """None bears on security beyond the key: constitutions name a witness by its name and key."""

    port: int
    folder: Path  # witness.sqlite is made in it
    name: str  # its key name, as constitutions have it
    key: Path  # the witness key: 32 bytes, mode 0600; never one of another witness or log
    logs: tuple[str, ...]  # verifier keys of the logs it watches, as C2SP signed-note writes them (type 01)
    ready: Path | None = None  # the port is written there when it is served
    log_level: str = "info"
