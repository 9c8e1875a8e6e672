"""Looks for traces of what was said: in the memory of processes, in files, in what a page says."""

import contextlib
import mmap
import os
import string
from pathlib import Path

WINDOW = 32  # bytes
_PIECE = 1024 * 1024  # bytes that are read at a time, of whole pages
_ENTRY = 8  # bytes of pagemap for a page


def marks_of(audio, sentence, *, file_name):
    """What would tell of the request: bytes from every part of the sound, words in a row, the name of the file."""
    return {
        "audio": windows(audio),
        "transcript": phrases(sentence),
        "file name": {file_name.encode()},
    }


def windows(file):
    """Some of the file's bytes from every part of it; none of silence, which could be anyone's."""
    starts = range(WINDOW, len(file) - WINDOW, len(file) // 60)
    cut = (bytes(file[start : start + WINDOW]) for start in starts)
    return {window for window in cut if len(set(window)) > WINDOW // 2}


def phrases(text):
    """Three words in a row, as an engine writes them: one alone could stand in any dictionary."""
    words = text.lower().translate(str.maketrans("", "", string.punctuation)).split()
    return {" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)}


def found(marks, data):
    """The kinds of marks of which at least one is in `data`."""
    return {kind for kind, values in marks.items() if any(value in data for value in values)}


def in_memory(marks, pid, *, rights="w"):
    """What of the marks is in the memory of a process, which must be ours to read: where it has these rights.

    What it has not used is not read: pages would be made of it, and counted as its own.
    """
    there = set()
    process = Path(f"/proc/{pid}")
    with (process / "mem").open("rb", buffering=0) as memory, (process / "pagemap").open("rb", buffering=0) as pages:
        for line in (process / "maps").read_text().splitlines():
            span, granted, *_ = line.split()
            if rights in granted:
                start, end = (int(address, 16) for address in span.split("-"))
                there |= in_span(marks, memory, pages, start, end)
    return there


def in_span(marks, memory, pages, start, end):
    there = set()
    with contextlib.suppress(OSError, ValueError, OverflowError):  # guard pages; what was unmapped meanwhile
        for at in range(start, end, _PIECE):
            first, last = max(start, at - WINDOW), min(end, at + _PIECE)
            if is_used(pages, at, last):
                memory.seek(first)
                there |= found(marks, memory.read(last - first))
    return there


def is_used(pages, start, end):
    """Whether any page is there, or was swapped out: bits 63 and 62 of its entry."""
    pages.seek(start // mmap.PAGESIZE * _ENTRY)
    entries = pages.read((end - start) // mmap.PAGESIZE * _ENTRY)
    return any(entry & 0xC0 for entry in entries[_ENTRY - 1 :: _ENTRY])


def in_files(marks, *folders, since):
    """The files that were changed after `since` (seconds since 1970) and hold a mark; how many were looked at."""
    changed = set()
    for folder in folders:
        below = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)  # some go meanwhile
        for path in below:
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_mtime >= since:
                    changed.add(path)
    return in_these_files(marks, changed), len(changed)


def in_these_files(marks, names):
    """Those of the files that hold a mark, with what they hold; those that are gone hold none."""
    there = {}
    for name in names:
        with contextlib.suppress(OSError):
            if Path(name).is_file() and (kinds := in_file(marks, Path(name))):
                there[str(name)] = kinds
    return there


def in_file(marks, path):
    """What of the marks is in a file; what it claims and does not hold is not read."""
    there, end = set(), 0
    with path.open("rb", buffering=0) as file, contextlib.suppress(OSError):  # there is no more of it
        while True:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            for at in range(start, end, _PIECE):
                first = max(start, at - WINDOW)
                there |= found(marks, os.pread(file.fileno(), min(end, at + _PIECE) - first, first))
    return there


def in_open_files(marks, pid):
    """What of the marks is in files that a process has open, those without a name included."""
    there = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if (target.startswith("/") and not target.startswith(("/dev/", "/proc/"))) or "memfd:" in target:
                there |= found(marks, descriptor.read_bytes())
    return there
