"""The `[database]` table of a service that keeps something: which database, and how it is reached."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cloister.hosting.needed_file import NeededFile

Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]

SQLITE = "sqlite"


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SQLite in the service's folder, or a PostgreSQL server. None bears on security: what is stored is checked."""

    url: str = SQLITE  # or postgresql://USER@HOST[:PORT]/DATABASE, without a password
    password: NeededFile | None = None  # a file with it alone, mode 0600; else PGPASSWORD or ~/.pgpass, as with psql
    ca: NeededFile | None = None  # PEM: who signs the certificate of a server on another machine
    connect_seconds: Seconds = 5
    answer_seconds: Seconds = 10  # each step of a transaction
    unsafe_may_forget: bool = False  # takes a server with fsync or synchronous_commit off: for trials only

    def __post_init__(self) -> None:
        """What says how a server is reached is for a server."""
        if self.url == SQLITE and (self.password is not None or self.ca is not None or self.unsafe_may_forget):
            raise ValueError("password, ca and unsafe_may_forget are for a database server, and url names none")
