"""The kernel's configfs-tsm, in memory, as Documentation/ABI/testing/configfs-tsm-report and guest/report.c have it.

Binary attributes are committed when they are closed, and what the commit says is lost; every write of an option raises
`generation`; `outblob` is made when it is first read; what `inblob` holds has to be 64 bytes by then.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ROOT = "/sys/kernel/config/tsm/report"
WRITE_ONLY = ("inblob", "privlevel")


def fault(code, path=""):
    return OSError(code, os.strerror(code), path)


@dataclass
class Entry:
    inblob: bytes = b""
    privlevel: int = 0
    write_generation: int = 0
    read_generation: int = 0
    made: tuple[bytes, bytes] | None = None


@dataclass
class Opened:
    entry: Entry
    attribute: str
    flags: int
    written: bytes = b""
    content: bytes | None = None
    at: int = 0


@dataclass
class TsmKernel:
    """`report` makes outblob and auxblob from inblob and privilege level."""

    report: Callable[[bytes, int], tuple[bytes, bytes]]
    provider: str | None = "sev_guest"
    floor: int | None = None  # None: the provider knows no privilege levels
    auxiliary: bool = True  # auxblob is shown
    piece: int = 700  # bytes that one read brings at most
    loaded: bool = True  # the folder is there
    faults: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # by call and attribute: errors to come
    meanwhile: dict[tuple[str, str], Callable[[Any], object]] = field(
        default_factory=dict
    )  # what others do just before a call
    entries: dict[str, Entry] = field(default_factory=dict)
    opened: dict[int, Opened] = field(default_factory=dict)
    removed: int = 0

    def mkdir(self, path):
        name = self._name(path)
        self._before("mkdir", "")
        if not self.loaded:
            raise fault(errno.ENOENT, path)
        if self.provider is None:
            raise fault(errno.ENXIO, path)
        if name in self.entries:
            raise fault(errno.EEXIST, path)
        self.entries[name] = Entry()

    def rmdir(self, path):
        self._before("rmdir", "")
        if self.entries.pop(self._name(path), None) is None:
            raise fault(errno.ENOENT, path)
        self.removed += 1

    def open(self, path, flags):
        folder, _, attribute = path.rpartition("/")
        self._before("open", attribute)
        entry = self.entries.get(self._name(folder))
        if entry is None or attribute not in self._attributes():
            raise fault(errno.ENOENT, path)
        if (flags & os.O_ACCMODE == os.O_WRONLY) != (attribute in WRITE_ONLY):
            raise fault(errno.EACCES, path)
        descriptor = 1000 + len(self.opened)
        self.opened[descriptor] = Opened(entry, attribute, flags)
        return descriptor

    def read(self, descriptor, size):
        file = self.opened[descriptor]
        self._before("read", file.attribute)
        if file.content is None:
            file.content = self._content(file)
        piece = file.content[file.at : file.at + min(size, self.piece)]
        file.at += len(piece)
        return piece

    def write(self, descriptor, data):
        file = self.opened[descriptor]
        self._before("write", file.attribute)
        if file.attribute == "privlevel":
            if not (self.floor or 0) <= int(data) <= 3:
                raise fault(errno.EINVAL)
            self._advance(file.entry)
            file.entry.privlevel = int(data)
        elif len(file.written) + len(data) > 64:
            raise fault(errno.EFBIG)
        else:
            file.written += data
        return len(data)

    def close(self, descriptor):
        file = self.opened.pop(descriptor)
        if file.attribute == "inblob" and file.written:
            try:
                self._before("commit", "inblob")
                self._advance(file.entry)
            except OSError:
                return  # "result of ->release() is ignored"
            file.entry.inblob = file.written

    def _content(self, file):
        entry = file.entry
        match file.attribute:
            case "provider":
                return f"{self.provider}\n".encode()
            case "generation":
                return f"{entry.write_generation}\n".encode()
            case "privlevel_floor":
                return f"{self.floor}\n".encode()
        if not entry.inblob:
            raise fault(errno.EINVAL)
        if entry.made is None or entry.read_generation != entry.write_generation:
            if len(entry.inblob) != 64 or entry.privlevel < (self.floor or 0):
                raise fault(errno.EINVAL)
            entry.made = self.report(entry.inblob, entry.privlevel)
            entry.read_generation = entry.write_generation
        return entry.made[0 if file.attribute == "outblob" else 1]

    def _advance(self, entry):
        entry.write_generation += 1

    def _attributes(self):
        levels = () if self.floor is None else ("privlevel", "privlevel_floor")
        return ("provider", "generation", "inblob", "outblob", *(("auxblob",) if self.auxiliary else ()), *levels)

    def _before(self, call, attribute):
        if act := self.meanwhile.get((call, attribute)):
            act(self)
        if codes := self.faults.get((call, attribute)):
            raise fault(codes.pop(0))

    @staticmethod
    def _name(path):
        folder, _, name = path.rpartition("/")
        if not folder.endswith(ROOT):
            raise fault(errno.ENOENT, path)
        return name
