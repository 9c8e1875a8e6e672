"""No core dumps: one would write keys and plaintext to a disk, where rule 3 of the design has none."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """Limit core dumps to 1 byte, for this process and all that it starts; it cannot be raised again.

    That is too little for any file, and the one value for which the kernel hands nothing to a program either
    (`kernel.core_pattern` begins with `|`): with a limit of nothing it does, and leaves the decision to that program.
    Where whoever started this process left it nothing at all, that stays.

    Source: core(5); do_coredump() in Linux's fs/coredump.c.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    lowest = min(1, most) if most != resource.RLIM_INFINITY else 1
    resource.setrlimit(resource.RLIMIT_CORE, (lowest, lowest))
