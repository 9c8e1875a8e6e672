"""Linux's configfs-tsm, the one door to SEV-SNP's reports and TDX's quotes: from kernel 6.7.

An entry is a folder: 64 bytes go into `inblob`, the signed report comes out of `outblob`. The kernel drops what the
write of a binary attribute returns (configfs_release_bin_file), so that a lost or foreign write is seen in nothing but
`generation`, which every write raises by one.
Source: Documentation/ABI/testing/configfs-tsm-report (configfs-tsm before 6.16), drivers/virt/coco/guest/report.c.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cloister.errors import CloisterError
from cloister.tee.collectors.collected import (
    Collected,
    HardwarePlatform,
    NoTee,
    TeeFault,
    TeeUnavailable,
    require_room,
)
from cloister.tee.collectors.machine import Machine, explained
from cloister.tee.collectors.snp_evidence import collected_snp
from cloister.tee.collectors.tdx_evidence import collected_tdx

REPORTS: Final = "sys/kernel/config/tsm/report"
PROVIDERS: Final[dict[str, HardwarePlatform]] = {"sev_guest": "snp", "tdx_guest": "tdx"}
MAXIMUM_BLOB: Final = 64 * 1024  # bytes: twice what the first kernels could give
_ROOM: Final = 64  # bytes: SNP and TDX take no fewer, though the interface speaks of "up to"
_TRIES: Final = 5
_FIRST_WAIT: Final = 0.1  # seconds, doubled with each try
NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO)  # when an entry is made
_ADVICE: Final = {
    errno.ENXIO: "Either this is no confidential guest, or its kernel module is not loaded (sev-guest, tdx-guest)",
    errno.EINVAL: "The provider takes 64 bytes of report data and a privilege level that this guest runs at, or below",
    errno.EAGAIN: "The report was not made yet: ask again",
    errno.EBUSY: "Another quote is still under way, or was given up by its asker: ask again in half a minute",
    errno.ENOTTY: "The kernel wiped the guest's key to the secure processor after a failed request: restart the guest",
    errno.ETIMEDOUT: "The host did not answer: of a TD, it has to run a quote generation service (QGS)",
    errno.EIO: "The firmware or the host refused: dmesg says which, and with which code",
    errno.EINTR: "Signals interrupted it again and again: ask again",
}


class _Raced(TeeUnavailable):
    """Somebody else wrote into the entry, or removed it."""


@dataclass(frozen=True, slots=True)
class TsmAnswer:
    """What one entry gave."""

    provider: str
    outblob: bytes
    auxblob: bytes  # of SEV-SNP the host's certificate table; empty where there is none


def entry_name() -> str:
    """A name that no other asker has."""
    return f"cloister-{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class ConfigfsTsm:
    """The collector of SEV-SNP reports and TDX quotes; `tsm_provider` says of which."""

    machine: Machine
    platform: HardwarePlatform
    privilege_level: int | None = None  # SEV-SNP's VMPL, 0 to 3; None: the most privileged one that the guest may name
    room: Literal[64] = 64

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the report has one field
        """As `Collector`."""
        answer = ask_tsm(self.machine, report_data, privilege_level=self.privilege_level)
        if PROVIDERS.get(answer.provider) != self.platform:
            raise TeeFault(
                f"configfs-tsm's provider became {answer.provider} while evidence of {self.platform} was collected"
            )
        if self.platform == "snp":
            return collected_snp(answer.outblob, answer.auxblob, report_data)
        return collected_tdx(answer.outblob, report_data)


def tsm_provider(machine: Machine) -> str | None:
    """The name of the TEE behind configfs-tsm; None where the kernel has no such folder, or nothing behind it.

    Raises:
        TeeDenied, TeeUnavailable: it cannot be asked.
    """
    try:
        with _entry(machine, entry_name()) as entry:
            return entry.text("provider")
    except OSError as error:
        if error.errno in NOTHING_THERE:
            return None
        raise explained(error, "making an entry in configfs-tsm", _ADVICE) from error


def ask_tsm(
    machine: Machine, report_data: bytes, *, privilege_level: int | None, name: Callable[[], str] = entry_name
) -> TsmAnswer:
    """Ask for a report that carries `report_data`, 64 bytes; again, boundedly, where others were in the way.

    Raises:
        NoTee, TeeUnavailable, TeeFault, TeeDenied: there is none, and why.
    """
    require_room(report_data, _ROOM)
    for wait in (*(_FIRST_WAIT * 2**attempt for attempt in range(_TRIES - 1)), None):
        try:
            return _asked_once(machine, report_data, privilege_level, name())
        except (_Raced, OSError) as error:
            said = error if isinstance(error, _Raced) else _said(error)
            busy = isinstance(error, _Raced) or error.errno in (errno.EBUSY, errno.EAGAIN)
            if not busy or wait is None:
                raise said from error
        machine.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _said(error: OSError) -> CloisterError:
    if error.errno in NOTHING_THERE:
        return NoTee(f"configfs-tsm: {error.strerror}. {_ADVICE[errno.ENXIO]}")
    return explained(error, "asking configfs-tsm for a report", _ADVICE)


def _asked_once(machine: Machine, report_data: bytes, privilege_level: int | None, name: str) -> TsmAnswer:
    with _entry(machine, name) as entry:
        try:
            provider, before = entry.text("provider"), entry.generation()
            writes = 1 + entry.choose_privilege_level(privilege_level)
            entry.write("inblob", report_data)
            outblob = entry.read("outblob")
            auxblob = entry.read_where_there("auxblob")
            after = entry.generation()
        except FileNotFoundError as error:
            raise _Raced("somebody removed the entry in configfs-tsm while it was used") from error
    if after != before + writes:
        raise _Raced(
            f"the entry's generation went from {before} to {after} with {writes} writes of ours: who else uses it?"
        )
    return TsmAnswer(provider, outblob, auxblob or b"")


@dataclass(frozen=True, slots=True)
class _Entry:
    """The attributes of one entry; each method raises OSError as the kernel does."""

    machine: Machine
    folder: str

    def read(self, attribute: str) -> bytes:
        return self.machine.read(f"{self.folder}/{attribute}", limit=MAXIMUM_BLOB)

    def read_where_there(self, attribute: str) -> bytes | None:
        """None where the provider does not show it; that the entry is gone is found by the next read."""
        try:
            return self.read(attribute)
        except FileNotFoundError:
            return None

    def write(self, attribute: str, data: bytes) -> None:
        self.machine.write(f"{self.folder}/{attribute}", data)

    def text(self, attribute: str) -> str:
        return self.read(attribute).decode("ascii", "replace").strip()

    def generation(self) -> int:
        said = self.text("generation")
        if not said.isdecimal():
            raise TeeFault(f"configfs-tsm's generation reads {said[:40]!r}, which is no number")
        return int(said)

    def choose_privilege_level(self, wanted: int | None) -> int:
        """How many writes it took. Unasked, level 0 would be asked for, which a guest below an SVSM may not."""
        if wanted is None:
            floor = self.read_where_there("privlevel_floor") or b"0"
            wanted = int(floor) if floor.strip().isdigit() else 0
            if wanted == 0:
                return 0
        self.write("privlevel", f"{wanted}\n".encode())
        return 1


@contextlib.contextmanager
def _entry(machine: Machine, name: str) -> Iterator[_Entry]:
    """An entry of our own, removed in any case: entries are kernel memory, and nobody else would.

    Raises:
        OSError: as the kernel says.
        _Raced: there is one of this name.
    """
    folder = f"{REPORTS}/{name}"
    try:
        machine.calls.mkdir(machine.place(folder))
    except FileExistsError as error:
        raise _Raced(f"configfs-tsm has an entry {name} already") from error
    try:
        yield _Entry(machine, folder)
    finally:
        with contextlib.suppress(FileNotFoundError):  # somebody else was faster, and it is gone
            machine.calls.rmdir(machine.place(folder))
