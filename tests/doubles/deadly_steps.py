"""Steps at which a KMS or a gateway kills itself, as `kill -9` does: planted in its process, which never unlearns them.

A KMS has no disk. What outlives it lies with the ledger, so its durable steps are the moments before something is asked
of the ledger and after that was done, and the one before an answer with a key leaves. Nothing of a gateway outlives it;
its steps are those of a request that it answers.
"""

from __future__ import annotations

import functools
import os
import signal

from cloister.hosting.http_inbound import InboundConnection
from cloister.peers.ledger import LedgerClient
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.engines import Engines
from cloister.services.gateway.whole_exchange import WholeExchange
from cloister.services.kms.kms import Kms

# In their order: a start logs the genesis, the contract, the KMS itself and an epoch; then each gateway asks for a key.
_LOGGED = ("the genesis is logged", "the contract is logged", "the KMS is introduced", "an epoch is logged")
_RELEASED = ("the evidence is stored", "the release is logged")
STARTING = tuple(f"{when} {what}" for what in _LOGGED for when in ("before", "after"))
RELEASING = (*(f"{when} {what}" for what in _RELEASED for when in ("before", "after")), "before the key leaves")
ANSWERING = ("received", "opened", "handed to the engine", "the engine answers", "half answered", "answered")


def plant(step):
    """From now on this process, of either kind, ends at `step`."""
    if step in ANSWERING:
        _PLANTED[step]()
    else:
        _plant_in_kms((*STARTING, *RELEASING).index(step))


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _plant_in_kms(number):
    left = iter(range(number, -1, -1))

    def stepped(original, *, before):
        @functools.wraps(original)
        async def method(self, *arguments):
            if before and next(left) == 0:
                _die()
            value = await original(self, *arguments)
            if next(left) == 0:
                _die()
            return value

        return method

    for name in ("append", "put_blob"):
        setattr(LedgerClient, name, stepped(getattr(LedgerClient, name), before=True))
    setattr(Kms, "release", stepped(Kms.release, before=False))  # noqa: B010 - mypy


def _end(owner, name, *, before):
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(*arguments, **options):
        if before:
            _die()
        original(*arguments, **options)
        _die()

    setattr(owner, name, method)


def _end_amid_the_answer():
    original = InboundConnection.respond_with

    def half(self, message):
        original(self, message[: len(message) // 2])
        _die()

    setattr(InboundConnection, "respond_with", half)  # noqa: B010 - mypy


_PLANTED = {
    "received": lambda: _end(WholeExchange, "complete", before=True),
    "opened": lambda: _end(Engines, "take", before=True),
    "handed to the engine": lambda: _end(EngineLink, "ask", before=False),
    "the engine answers": lambda: _end(WholeExchange, "answer_begins", before=False),
    "half answered": _end_amid_the_answer,
    "answered": lambda: _end(InboundConnection, "respond_with", before=False),
}
