"""Who may write to a ledger, and how fast: what is logged stays, so a flood would stay too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cloister.errors import CloisterError, UsageError
from cloister.formats.statement import is_of_kind
from cloister.hosting.allowance import Allowance
from cloister.hosting.tls import ServerTls

# What anyone may say, and what every replay of the log has to weigh by more than its signatures: of each caller.
WEIGHED: Final = ("constitution", "contract", "kms", "time")
WEIGHED_PER_SECOND, WEIGHED_AT_ONCE = 1, 1024
BRIM_BYTES = 64 * 1024 * 1024  # at once, after a while of rest
ENTRY_BYTES = 4096  # what an entry costs on disk beside its own bytes, by itself,
BATCHED_ENTRY_BYTES = 256  # and with many others, which share pages and a checkpoint


class NotAWriter(CloisterError):
    """The caller may read the log and not write to it."""

    status = 403


class Writers:
    """On a ledger that knows its callers by certificates, those named; on a ledger of this machine, its users."""

    def __init__(
        self, names: Sequence[str], tls: ServerTls | None, *, per_second: int, clock: Callable[[], float]
    ) -> None:
        """`per_second` is in bytes, of all writers together.

        Raises:
            UsageError: callers are known by name and none of them may write, or none is known and some are named.
        """
        known = tls is not None and bool(tls.clients)
        if known and not names:
            raise UsageError("give writers: the names in callers' certificates that may write, as the KMS's")
        if names and not known:
            raise UsageError("writers are names in callers' certificates: give [tls] with client_ca and clients, too")
        self._names = frozenset(names) if known else None
        self._allowance = Allowance(per_second=per_second, brim=BRIM_BYTES, clock=clock)
        self._clock = clock
        self._weighed: dict[frozenset[str], Allowance] = {}  # by the names that admit a caller: few

    def admit(self, caller: frozenset[str]) -> None:
        """Take a caller with these names in its certificate, before anything of its request is read.

        Raises:
            NotAWriter: none of them may write.
        """
        if self._names is not None and self._names.isdisjoint(caller):
            raise NotAWriter(
                "this caller may read the log, and not write to it: the ledger's setting writers says who may"
            )

    def charge_entries(self, caller: frozenset[str], entries: Sequence[bytes], *, each: int) -> None:
        """Count entries that parse, and `each` bytes beside those of each.

        Raises:
            TooMuch: it is more than may be written now, or than this caller may have weighed.
        """
        weighed = sum(is_of_kind(entry, *WEIGHED) for entry in entries)
        if weighed:
            names = frozenset() if self._names is None else caller & self._names
            fresh = Allowance(per_second=WEIGHED_PER_SECOND, brim=WEIGHED_AT_ONCE, clock=self._clock)
            self._weighed.setdefault(names, fresh).take(weighed, what=f"entries of kind {', '.join(WEIGHED)}")
        self.charge(sum(len(entry) + each for entry in entries))

    def charge(self, size: int) -> None:
        """Count `size` bytes that are to be written.

        Raises:
            TooMuch: it is more than may be written now.
        """
        self._allowance.take(size, what="bytes to be kept")
