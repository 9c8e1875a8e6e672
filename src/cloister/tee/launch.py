"""How every process that is measured is started, in one place.

Isolated (no PYTHON* variables, no user site, no current folder on the path), writing no bytecode, and looking for it
where none can be: bytecode is neither measured nor loaded, so it must not run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

# A folder that nobody can make: the kernel refuses new names there.
NO_BYTECODE: Final = "/proc/cloister-loads-no-bytecode"

# Nothing of the caller's environment reaches a service: LD_PRELOAD would run code that is not in the closure. Without
# HOME Python looks the user up when it starts, and that loads libraries of this system's choice. glibc overwrites what
# is freed: a user's words and keys do not stay in memory that nothing points to (docs/decisions/0010).
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=85:glibc.malloc.tcache_count=0",
}


def measured_python(interpreter: str = sys.executable) -> list[str]:
    """The beginning of the command line of every measured process."""
    return [interpreter, "-I", "-B", "-X", f"pycache_prefix={NO_BYTECODE}"]


def loads_no_bytecode() -> bool:
    """Whether this process was started so."""
    no_bytecode = sys.flags.isolated and sys.dont_write_bytecode and sys.pycache_prefix == NO_BYTECODE
    return bool(no_bytecode) and not Path(NO_BYTECODE).exists()


def loader_settings() -> list[str]:
    """The variables by which this process was told to load other objects, as it was started with them.

    `LD_…` is read by the dynamic loader; `OPENSSL_…` names a configuration, modules and engines that OpenSSL loads.
    """
    told = Path("/proc/self/environ").read_bytes().split(b"\0")
    return sorted(
        entry.partition(b"=")[0].decode("latin-1") for entry in told if entry.startswith((b"LD_", b"OPENSSL_"))
    )
