"""The steps of a transaction in PostgreSQL's words."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from cloister.storage.transaction import Each, Find, Insert, Query, Row, Step

PAGE = 256  # rows that are in memory at once; 16 MiB of the largest entries


async def take(connection: Any, step: Step, *, seconds: float) -> Sequence[Row]:
    """The rows that answer `step`, each exchange of which may take so many seconds.

    Raises:
        TimeoutError: it took longer.
    """
    if isinstance(step, Each):
        await _each(connection, step, seconds)
        return ()
    async with asyncio.timeout(seconds):
        return await _rows(connection, step)


async def _rows(connection: Any, step: Query | Find | Insert) -> Sequence[Row]:
    match step:
        case Query(sql, values):
            rows: Sequence[Row] = await connection.fetch(numbered(sql), *values)
        case Find(table, columns, wanted):
            sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} = ANY($1::bytea[])"  # noqa: S608 - ours
            rows = await connection.fetch(sql, wanted)
        case Insert(table, types, given):
            # One message: COPY would leave the server waiting, without a limit, for a process that stands still.
            marks = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, start=1))
            sql = f"INSERT INTO {table} SELECT * FROM unnest({marks})"  # noqa: S608 - names of ours
            rows = await connection.fetch(sql, *(list(column) for column in zip(*given, strict=True)))
    return rows


async def _each(connection: Any, step: Each, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        cursor = await connection.cursor(numbered(step.sql), *step.values)
    while True:
        async with asyncio.timeout(seconds):
            rows = await cursor.fetch(PAGE)
        if not rows or not all(step.take(row) for row in rows):
            return


@lru_cache
def numbered(sql: str) -> str:
    """`?` as `$1`, `$2` and so on; no statement of ours has one elsewhere."""
    count = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(count)}", sql)
