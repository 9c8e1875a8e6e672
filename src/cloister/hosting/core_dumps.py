"""No core dumps: one would write keys and plaintext to a disk, where rule 3 of the design has none."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """Set the limit on core dumps to nothing, for this process and all that it starts; it cannot be raised again.

    Where the kernel hands dumps to a program (`kernel.core_pattern` begins with `|`), that program is told the limit
    and decides: systemd-coredump and apport keep nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
