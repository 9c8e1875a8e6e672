"""What PostgreSQL and the way to it can have against us, in our errors: whose fault it is, and whether to try again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import asyncpg

from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.storage.database_file import CorruptStore

# Classes of SQLSTATE (PostgreSQL documentation, appendix A).
_SETTINGS: Final = ("28", "3D", "42501")  # authorization, no such database, no privilege
_DAMAGE: Final = ("23", "P0", "XX001", "XX002", "42", "3F")  # constraints, triggers, torn pages, tables that are others


@contextlib.contextmanager
def translated(where: object) -> Iterator[None]:
    """Raise what happens within as an error of ours; `where` names the database.

    Raises:
        Unavailable: it is down, slow, full, failing over or out of connections, or the way to it broke.
        CorruptStore: it is damaged, or one of its constraints or triggers forbids the change.
        UsageError: it does not let us in.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(where, error) from error
    except TimeoutError as error:
        raise Unavailable(f"{where} gave no answer in time") from error
    except OSError as error:
        raise Unavailable(f"{where} cannot be reached: {error.strerror or type(error).__name__}") from error
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise Unavailable(f"{where} takes no writes: it fails over, or is only a copy") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unavailable(f"{where} broke the connection off: {type(error).__name__}") from error


def _of_server(where: object, error: asyncpg.PostgresError) -> CloisterError:
    """Only the first sentence: what follows it may quote rows."""
    state = error.sqlstate or ""
    said = str(error.args[0]) if error.args else type(error).__name__
    if state.startswith(_SETTINGS):
        return UsageError(f"{where} does not let us in: {said}")
    if state.startswith(_DAMAGE):
        return CorruptStore(f"{where} would not hold what it must: {said}")
    return Unavailable(f"{where} cannot be used: {said}")
