"""Looks for traces of what was said: in the memory of processes, in files, in what a page says."""

import contextlib
import os
import string
from pathlib import Path

WINDOW = 32  # bytes
_PIECE = 8 * 1024 * 1024


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


def in_memory(marks, pid):
    """What of the marks is in the writable memory of a process, which must be ours to read."""
    there = set()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if "w" in rights:
                start, end = (int(address, 16) for address in span.split("-"))
                there |= in_span(marks, memory, start, end)
    return there


def in_span(marks, memory, start, end):
    there = set()
    with contextlib.suppress(OSError, ValueError, OverflowError):  # guard pages; what was unmapped meanwhile
        for at in range(start, end, _PIECE):
            memory.seek(max(start, at - WINDOW))
            there |= found(marks, memory.read(min(end, at + _PIECE) - max(start, at - WINDOW)))
    return there


def in_files(marks, *folders, since):
    """The files that were changed after `since` (seconds since 1970) and hold a mark; how many were looked at."""
    there, looked_at = {}, 0
    for folder in folders:
        below = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)  # some go meanwhile
        for path in below:
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_mtime >= since:
                    looked_at += 1
                    if kinds := found(marks, path.read_bytes()):
                        there[str(path)] = kinds
    return there, looked_at


def in_open_files(marks, pid):
    """What of the marks is in files that a process has open, those without a name included."""
    there = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if (target.startswith("/") and not target.startswith(("/dev/", "/proc/"))) or "memfd:" in target:
                there |= found(marks, descriptor.read_bytes())
    return there
