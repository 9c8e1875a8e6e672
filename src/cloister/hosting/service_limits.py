"""Caps and times of a service on uvicorn: witness, ledger, KMS."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class ServiceLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[limits]` table of their settings."""

    connections: Count = 256  # at a time; more are cut off
    requests: Count = 128  # being answered at a time, health aside; more are told to come back
    head_seconds: Seconds = 10.0  # from a connection, or a request's first byte, to the end of its head
    idle_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = (
        5  # between requests; peers' clients keep a connection for less
    )
    body_seconds: Seconds = 60.0  # for a whole body
    body_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=2**30)] = (
        16 * 1024 * 1024
    )  # routes have lower caps of their own
    answer_seconds: Seconds = 90.0  # from the end of a head to the end of the answer, slow readers included
