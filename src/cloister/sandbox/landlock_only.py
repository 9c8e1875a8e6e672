"""What an engine is started with where no namespaces can be had: a user of its own, and what the second stage adds.

That is Landlock, seccomp and limits. Its files are where they lie on the machine; scratch, sections and model in a
folder in the machine's memory. docs/sandbox.md says what this does not deny.
"""

from __future__ import annotations

from cloister.sandbox.profile import PLACE_PLACEHOLDER, STAGE_PLACEHOLDER, Landlock
from cloister.sandbox.second_stage import LISTENER_FD

_SCRATCH, SECTIONS, MODEL = (f"{PLACE_PLACEHOLDER}/{name}" for name in ("scratch", "sections", "model"))


def arguments() -> tuple[str, ...]:
    """What `env` is told: nothing of the environment, and where things are."""
    return (
        *(
            "-i",
            "-C",
            _SCRATCH,
            "PATH=/usr/bin",
            f"LISTEN_FD={LISTENER_FD}",
            f"LD_LIBRARY_PATH={STAGE_PLACEHOLDER}/lib",
        ),
        *(f"SECTIONS={SECTIONS}", f"MODEL={MODEL}", f"TMPDIR={_SCRATCH}", f"APP={STAGE_PLACEHOLDER}"),
    )


def rules(abi: int) -> Landlock:
    """What it may open: its closure, the system's programs and libraries, its own folders in memory."""
    read = (STAGE_PLACEHOLDER, "/usr", "/etc/ld.so.cache", "/dev/urandom", SECTIONS, MODEL)
    return Landlock(abi=abi, read=read, write=(_SCRATCH, "/dev/null"))
