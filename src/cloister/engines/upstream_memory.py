"""How much memory the adapter of an upstream takes, which the sandbox adds to the server's, and what holds it to that.

Server and adapter share one control group, and where that is full the kernel ends its largest process: the server. A
request's process cannot offer itself in its stead (`oom_score_adj`), since Landlock lets nothing in the sandbox write
to /proc. So none gets that far: each has a limit of its own, at which it alone ends.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

_MIB: Final = 1024 * 1024
# Of the largest requests one with 25 MiB of sound takes 103 MiB, one with 26 MiB of images 159, and an answer of 30 MiB
# of embeddings 199.
REQUEST_BYTES: Final = 256 * _MIB
_SHARED_BYTES: Final = 32 * _MIB  # of the process that it was forked from, which it has for itself where it writes
_LASTING_BYTES: Final = 64 * _MIB  # of the two processes that last


def adapter_bytes(at_once: int) -> int:
    """What the adapter takes at most, at work on `at_once` requests."""
    return _LASTING_BYTES + at_once * (REQUEST_BYTES + _SHARED_BYTES)


def hold_requests() -> None:
    """From here on each process that is forked, to serve one request, ends by itself where it takes more."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)  # as where rlimits hold the sandbox
    limit = held + REQUEST_BYTES if most == resource.RLIM_INFINITY else min(held + REQUEST_BYTES, most)
    # Not RLIMIT_DATA, which gVisor's kernel does not heed.
    os.register_at_fork(after_in_child=lambda: _hold(limit))


def _hold(limit: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except BaseException:  # noqa: BLE001 - Python would report it, and go on without a limit
        os._exit(1)
