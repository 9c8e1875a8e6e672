"""Sealing a model beside copying it, and opening it into memory, in gigabytes (10^9 bytes) a second.

    PYTHONPATH=src python bench/sealing.py [--gib 4] [--rounds 3] [--folder DIR]

Makes a model in DIR and, in rounds, copies it with `cp`, seals it, and opens what was sealed into memory that was set
aside for it, as a sandbox's is: each in a process of its own, on two processors. What is read lies in the page cache;
so the artifact, which sealing leaves on the disk alone, is read once before it is opened.
`cp` reads and writes it in one thread, and shares no blocks; then both the copy and the artifact are synchronised
before the clock stops. What the machine's OpenSSL does in one thread stands beside them. `_cpu_` is by CPU time, user
and system, as if both processors had worked on it alone: what others on the machine take shows there least.

`_limit_` is what the same two processors could do at most: the CPU time of each step that cannot be left out, taken by
itself in a loop of its own, in the same round: reading a MiB, SHA-256, AES-256-GCM from `cryptography`, writing to the
disk past the cache or to memory set aside. `_of_limit` is our CPU time beside it. SHA-256 of one core is more than half
of it; so a copy that is not synchronised, which hashes nothing, cannot be matched on two.

A virtual machine's host looks for memory when the machine first writes to it, which can take several times what all the
rest does. So the model is opened twice into the same memory: `open_first_` is with the host's time, `open_` without.

Memory is the most that the process had resident, without the model's own place. Everything in DIR is removed. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from measured import peak_rss_mib

from cloister.sealing.artifact import open_artifact, seal_folder
from cloister.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
PROCESSORS = sorted(os.sched_getaffinity(0))[:2]
GIB = 1 << 30
MIB = 1 << 20
BLOCK = 64 << 20
PRIMITIVE = 512 << 20  # bytes of the model that each step is tried on by itself
LARGEST = 2 * GIB  # bytes of one file of the model
SPARE = GIB  # bytes of disk and of memory that are left alone
GOALS = {"seal_of_copy": 0.9, "open_gb_per_s": 2.0}


class Told:
    """Progress that nobody looks at."""

    def begun(self, total: int, before: int) -> None:
        """Nothing."""

    def advanced(self, count: int) -> None:
        """Nothing."""


class MemoryFile:
    """As a sandbox's second stage makes one."""

    def __init__(self, size: int) -> None:
        """So many bytes, set aside."""
        self._descriptor = os.memfd_create("model")
        os.posix_fallocate(self._descriptor, 0, size)

    def write(self, at: int, data: memoryview) -> None:
        """A part of it."""
        while data:
            done = os.pwrite(self._descriptor, data, at)
            at, data = at + done, data[done:]

    def filled(self) -> None:
        """Kept until this process ends."""


def make_model(folder: Path, size: int) -> None:
    """Files of so many bytes together, which no disk can shorten, on it and in the cache."""
    folder.mkdir()
    block = bytearray(os.urandom(min(BLOCK, size)))
    for number, begin in enumerate(range(0, size, LARGEST)):
        with (folder / f"model-{number:05}.safetensors").open("wb") as file:
            for at in range(begin, min(begin + LARGEST, size), len(block)):
                block[:8] = at.to_bytes(8, "big")
                file.write(memoryview(block)[: min(len(block), begin + LARGEST - at, size - at)])
            file.flush()
            os.fsync(file.fileno())


def seal(source: Path, target: Path) -> dict[str, float]:
    """In a process of its own."""
    begin = time.monotonic()
    cpu = time.process_time()
    seal_folder(source, target, name="bench", key=KEY, progress=Told())
    spent, seconds = time.process_time() - cpu, time.monotonic() - begin
    return {"seconds": seconds, "cpu_seconds": spent, "rss_mib": peak_rss_mib(os.getpid())}


def open_(target: Path) -> dict[str, float]:
    """In a process of its own: into files in memory that the kernel has set aside, as a sandbox lends them."""
    source = open_artifact(target).source(KEY)
    for sealed in target.rglob("*.sealed"):
        subprocess.run(["cat", sealed], check=True, stdout=subprocess.DEVNULL)
    begin = time.monotonic()
    files = [MemoryFile(size) for _, size in source.files]
    allocated = time.monotonic()
    source.open_into(iter(files))
    touched, cpu = time.monotonic(), time.process_time()
    source.open_into(iter(files))
    spent, seconds = time.process_time() - cpu, time.monotonic() - touched
    own = peak_rss_mib(os.getpid())
    first = {"first_seconds": touched - allocated, "set_aside_seconds": allocated - begin}
    return {"seconds": seconds, "cpu_seconds": spent, "rss_mib": own} | first


def primitives(source: Path, target: Path) -> dict[str, float]:
    """In a process of its own: nanoseconds of CPU time for each byte, of each step by itself, a MiB at a time."""
    cipher, nonce = AESGCM(KEY.reveal()), bytes(12)
    plain, sealed = memoryview(mmap.mmap(-1, MIB)), memoryview(bytearray(MIB + 16))
    file, memory = os.open(source, os.O_RDONLY), os.memfd_create("m")
    disk = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    count = min(PRIMITIVE, os.fstat(file).st_size) // MIB
    os.posix_fallocate(disk, 0, count * MIB)
    for number in range(count):  # set aside, and had from the host
        os.pwrite(memory, plain, number * MIB)

    def each(step: Callable[[int], object]) -> float:
        step(0)
        begin = time.thread_time_ns()
        for number in range(count):
            step(number * MIB)
        return (time.thread_time_ns() - begin) / count / MIB

    return {
        "read": each(lambda at: os.preadv(file, [plain], at)),
        "sha256": each(lambda _: hashlib.sha256(plain)),
        "encrypt": each(lambda _: cipher.encrypt_into(nonce, plain, None, sealed)),
        "decrypt": each(lambda _: cipher.decrypt_into(nonce, sealed, None, plain)),
        "write_disk": each(lambda at: os.pwrite(disk, plain, at)),
        "write_memory": each(lambda at: os.pwrite(memory, plain, at)),
    }


def limits(step: dict[str, float]) -> tuple[float, float]:
    """Gigabytes a second that both processors can seal and open at most, if each byte takes these nanoseconds."""
    both = step["read"] + step["sha256"]
    sealing, opening = both + step["encrypt"] + step["write_disk"], both + step["decrypt"] + step["write_memory"]
    return len(PROCESSORS) / sealing, len(PROCESSORS) / opening


def apart(*arguments: object) -> dict[str, float]:
    """What a part says that runs in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def copied(source: Path, target: Path) -> dict[str, float]:
    """`cp`, and then what it wrote synchronised."""
    begin = time.monotonic()
    subprocess.run(["cp", "-r", "--reflink=never", source, target], check=True)
    written = time.monotonic()
    subprocess.run(["sync", *target.iterdir()], check=True)
    return {"seconds": time.monotonic() - begin, "written_seconds": written - begin}


def by_cpu(size: int, told: dict[str, float]) -> float:
    """Gigabytes a second, had the processors done nothing else and waited for nothing."""
    return size * len(PROCESSORS) / told["cpu_seconds"] / 1e9


def openssl(name: str) -> float:
    """Gigabytes a second of one thread, in pieces of 1 MiB."""
    command = ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", str(1 << 20), "-evp", name]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(said.split()[-1].rstrip("k")) / 1e6


def require_room(folder: Path, size: int) -> None:
    """Two models at a time are on the disk, and one in memory beside what caches hold of the others.

    Raises:
        SystemExit: there is no room for them.
    """
    disk = shutil.disk_usage(folder).free
    free = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024
    if disk < 2 * size + SPARE or free < size + SPARE:
        raise SystemExit(
            f"{size / GIB:.1f} GiB need {(2 * size + SPARE) / GIB:.1f} GiB of disk in {folder}, which has"
            f" {disk / GIB:.1f}, and {(size + SPARE) / GIB:.1f} of memory, of which {free / GIB:.1f} are free:"
            " give less with --gib"
        )


def measure(folder: Path, size: int, rounds: int) -> dict[str, object]:
    """All rounds, copy and sealing in turn; the result."""
    source, copy, target = folder / "model", folder / "copy", folder / "artifact"
    make_model(source, size)
    found: dict[str, list[float]] = {}

    def note(**values: float) -> None:
        for name, value in values.items():
            found.setdefault(name, []).append(value)

    for _ in range(rounds):
        note(aes_256_gcm_gb_per_s=openssl("aes-256-gcm"), sha256_gb_per_s=openssl("sha256"))
        cp = copied(source, copy)
        shutil.rmtree(copy)
        sealed = apart("--seal", source, target)
        opened = apart("--open", target)
        shutil.rmtree(target)
        steps = apart("--primitives", source / "model-00000.safetensors", target)
        target.unlink()
        seal_limit, open_limit = limits(steps)
        note(**{f"{name}_ns_per_byte": value for name, value in steps.items()})
        note(copy_gb_per_s=size / cp["seconds"] / 1e9, copy_unsynchronised_gb_per_s=size / cp["written_seconds"] / 1e9)
        note(seal_gb_per_s=size / sealed["seconds"] / 1e9, seal_of_copy=cp["seconds"] / sealed["seconds"])
        note(
            open_gb_per_s=size / opened["seconds"] / 1e9, seal_rss_mib=sealed["rss_mib"], open_rss_mib=opened["rss_mib"]
        )
        note(seal_cpu_gb_per_s=by_cpu(size, sealed), open_cpu_gb_per_s=by_cpu(size, opened))
        note(seal_limit_gb_per_s=seal_limit, open_limit_gb_per_s=open_limit)
        note(seal_of_limit=by_cpu(size, sealed) / seal_limit, open_of_limit=by_cpu(size, opened) / open_limit)
        note(set_aside_gb_per_s=size / opened["set_aside_seconds"] / 1e9)
        note(open_first_gb_per_s=size / opened["first_seconds"] / 1e9)
    for name, values in found.items():
        print(f"{name:30} {statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})")
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def main() -> None:
    """Run it, or one part of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to be measured")
    parser.add_argument("--seal", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--open", nargs=1, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--primitives", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for part, do in ((given.seal, seal), (given.open, open_), (given.primitives, primitives)):
        if part:
            print(json.dumps(do(*part)))
            return
    size = int(given.gib * GIB)
    require_room(given.folder, size)
    os.sched_setaffinity(0, PROCESSORS)
    processors = len(PROCESSORS)
    system = subprocess.run(["stat", "-f", "-c", "%T", given.folder], check=True, capture_output=True, text=True).stdout
    print(
        f"{given.gib} GiB on {system.strip()}, {given.rounds} rounds, {processors} processors,"
        f" load {os.getloadavg()[0]:.1f} before"
    )
    with tempfile.TemporaryDirectory(prefix="sealing-", dir=given.folder) as folder:
        result = measure(Path(folder), size, given.rounds)
    met = {name: float(str(result[name])) >= goal for name, goal in GOALS.items()}
    print(f"load {os.getloadavg()[0]:.1f} behind; goals: {GOALS}")
    print(json.dumps({"gib": given.gib, "processors": processors, **result, "goals": met}))


if __name__ == "__main__":
    main()
