"""Decides, remembers, and only then cosigns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import NoteSignature
from cloister.formats.constitution import Log
from cloister.ledger.cosignatures import WitnessKeys, cosign_by_all
from cloister.ledger.witness_rules import advance, authenticate
from cloister.storage.witness_store import WitnessStore


class Witnessing:
    """One witness over its memory."""

    def __init__(
        self, name: str, keys: WitnessKeys, logs: Mapping[str, Log], store: WitnessStore, *, clock: Callable[[], int]
    ) -> None:
        """`logs` by origin; `clock` gives seconds since 1970."""
        self._name = name
        self._keys = keys
        self._logs = logs
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()

    async def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...]:
        """The cosignatures over the request's checkpoint, once its size and root are remembered on disk.

        Raises:
            MalformedInput, TooLarge, UsageError, UnknownLog, BadSignature, SizeConflict, Fork, BadProof: as
                `ledger.witness_rules` says; nothing was cosigned.
            Unavailable: the memory failed; nothing was cosigned.
        """
        submission = authenticate(request, self._logs)
        # One at a time, signing included: a cosignature says that at its time there was no larger checkpoint.
        async with self._turn:
            await self._store.advance(submission.checkpoint.origin, partial(advance, submission))
            return cosign_by_all(submission.note, self._name, self._keys, at=self._clock())
