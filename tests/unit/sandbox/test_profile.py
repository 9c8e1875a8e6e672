import pytest
from msgspec.structs import fields, replace

from cloister.formats.canonical import decode, encode
from cloister.sandbox.profile import (
    Landlock,
    Limits,
    SandboxProfile,
    Starter,
    bubblewrap_arguments,
)

LIMITS = Limits(
    held_by="rlimits",
    memory_bytes=1,
    tasks=2,
    open_files=3,
    file_bytes=4,
    scratch_bytes=5,
    model_bytes=6,
    request_seconds=7,
)
PROFILE = SandboxProfile(
    tool="bwrap",
    confinement="worker",
    user="dropped",
    starters=(Starter(name="bwrap", digest=bytes(32)),),
    arguments=bubblewrap_arguments(scratch_bytes=5, model_bytes=6),
    configuration="",
    outer_filter=b"outer",
    inner_filter=b"inner",
    request_filter=b"request",
    landlock=Landlock(abi=7, read=("/app",), write=("/tmp",)),
    limits=LIMITS,
)


@pytest.mark.parametrize(
    "change",
    [
        {"user": "own"},
        {"tool": "landlock"},
        {"configuration": "{}"},
        {"starters": ()},
        {"starters": (Starter(name="bwrap", digest=bytes(31) + b"\1"),)},
        {"arguments": PROFILE.arguments[:-1]},
        {"arguments": bubblewrap_arguments(scratch_bytes=6, model_bytes=6)},
        {"arguments": bubblewrap_arguments(scratch_bytes=5, model_bytes=7)},
        {"outer_filter": b"other"},
        {"inner_filter": b"other"},
        {"request_filter": b"other"},
        {"landlock": replace(PROFILE.landlock, abi=2)},
        {"landlock": replace(PROFILE.landlock, read=())},
        {"landlock": replace(PROFILE.landlock, write=())},
        {"landlock": replace(PROFILE.landlock, make=("/tmp",))},
        {"landlock": replace(PROFILE.landlock, execute=("/app",))},
        {"landlock": replace(PROFILE.landlock, tcp=True)},
        {"confinement": "server"},
        {"devices": ("/dev/nvidia0",)},
        {"landlock": replace(PROFILE.landlock, use=("/dev/nvidia0",))},
        {"arguments": bubblewrap_arguments(scratch_bytes=5, model_bytes=6, devices=("/dev/nvidia0",))},
        *({"limits": replace(LIMITS, **{field.name: 99})} for field in fields(Limits) if field.name != "held_by"),
        {"limits": replace(LIMITS, held_by="cgroup-v2")},
    ],
)
def test_a_change_of_anything_that_confines_is_another_digest(change):
    assert replace(PROFILE, **change).digest != PROFILE.digest


def test_the_digest_is_of_the_record_and_nothing_else():
    again = decode(encode(PROFILE), SandboxProfile, limit=65_536)
    assert again == PROFILE
    assert again.digest == PROFILE.digest
    assert len(PROFILE.digest) == 32


def test_what_landlock_denies_is_said_by_its_abi():
    assert Landlock(abi=0, read=(), write=()).denies == ()
    assert Landlock(abi=2, read=(), write=()).denies == ("files",)
    assert Landlock(abi=4, read=(), write=()).denies == ("files", "truncation", "TCP")
    assert "TCP" not in Landlock(abi=4, read=(), write=(), tcp=True).denies
    assert "signals and abstract sockets" in PROFILE.landlock.denies
