"""A folder of endorsements: each was examined before it was written, none is handed out after its end.

One file each, which holds the newest that was seen of its kind and subject, and so is the memory of how new that was:
what has ended stays until something newer comes. Files are replaced whole; several processes may use the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloister.attest.endorsements import (
    AuthenticEndorsement,
    Described,
    describe,
    examine_endorsement,
)
from cloister.errors import CloisterError, MalformedInput, TooLarge, Unavailable, UsageError
from cloister.examination import Examination
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import (
    KINDS,
    MAXIMUM_KEPT,
    Kept,
    Kind,
    encode_file,
    kind_of,
    parse_file,
)

_PARTIAL: Final = ".partial-"


MOST_KEPT: Final = 16_384  # files of one kind that nobody has to remember
# Kinds of which no older one does harm; of the others the newest stands for a memory, and they are few.
FORGOTTEN: Final[frozenset[Kind]] = frozenset({"amd-key", "ocsp-answer", "nvidia-manifest"})
_VLEK: Final = "vlek-"


class DamagedEndorsement(CloisterError):
    """A file of the store does not hold what was written into it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One of the store's, in date or not."""

    kept: Kept
    described: Described
    path: Path

    def counts(self, at: int) -> bool:
        """Whether it is in date at `at`, seconds since 1970."""
        return self.described.first <= at <= self.described.until


class EndorsementStore:
    """A store in one folder, for one set of pinned roots. Calls block for as long as the disk takes."""

    def __init__(self, folder: Path, roots: VendorRoots, *, most: int = MOST_KEPT, make: bool = True) -> None:
        """Open the store, or `make` it; of kinds that can be forgotten it keeps the `most` that were written last.

        What was taken under other roots is kept apart in the same folder: made-up hardware shall not spoil the memory
        of what is a vendor's newest.

        Raises:
            UsageError: it cannot be used.
        """
        self.folder = folder / _digest(roots)[:16]
        self.roots = roots
        self.most = most
        if not make:
            return
        try:
            for kind in KINDS:
                (self.folder / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the store of endorsements {folder} cannot be used: {error.strerror}") from error

    @property
    def there(self) -> bool:
        """Whether anybody has made it, under these roots."""
        return self.folder.is_dir()

    def under_other_roots(self) -> int:
        """How many endorsements the same folder keeps under other roots, which this store neither sees nor believes."""
        apart = (file for kind in KINDS for file in self.folder.parent.glob(f"*/{kind}/*"))
        return sum(self.folder not in file.parents and not file.name.startswith(_PARTIAL) for file in apart)

    def take(self, kept: Kept, *, at: int, subject: str | None = None) -> Examination[AuthenticEndorsement]:
        """Examine `kept`, and keep it if every step passed.

        Args:
            kept: as it came, from wherever.
            at: now, in seconds since 1970.
            subject: which of its kind was asked for; by itself, what it says that it is.

        Raises:
            DamagedEndorsement: what the store has in its place is damaged, so that nobody knows how new that was.
            Unavailable: the disk failed.
        """
        named = _own_subject(kept) if subject is None else subject
        with self._alone():
            known = self.find(kind_of(kept), named)
            seen = () if known is None else known.described.mark
            examination = examine_endorsement(kept, roots=self.roots, at=at, subject=named, seen=seen)
            if not examination.failed and (known is None or known.kept != kept):
                self._write(self._path(kind_of(kept), named), encode_file(examination.require().kept))
                if kind_of(kept) in FORGOTTEN:
                    self._forget_oldest(kind_of(kept))
        return examination

    def get(self, kind: Kind, subject: str, *, at: int) -> Kept | None:
        """The newest that was seen of this kind and subject, if it counts at `at`.

        Raises:
            DamagedEndorsement, Unavailable: the file is not what was written, or cannot be read.
        """
        found = self.find(kind, subject)
        return found.kept if found is not None and found.counts(at) else None

    def find(self, kind: Kind, subject: str) -> Stored | None:
        """The newest that was seen of this kind and subject, in date or not; raises as `get` does."""
        return _load(self._path(kind, subject))

    def of_clouds(self) -> Iterator[Stored | DamagedEndorsement]:
        """The certificates of clouds' keys (VLEKs), of which there are few; as `of_kind`."""
        yield from self._all((self.folder / "amd-key").glob(f"{_VLEK}*"))

    def of_kind(self, kind: Kind) -> Iterator[Stored | DamagedEndorsement]:
        """All of a kind, in date or not; in the place of a damaged one, what is wrong with it.

        Raises:
            Unavailable: a file cannot be read.
        """
        with contextlib.suppress(FileNotFoundError):
            yield from self._all([*(self.folder / kind).iterdir()])

    def _all(self, paths: Iterable[Path]) -> Iterator[Stored | DamagedEndorsement]:
        for path in sorted(paths):
            if path.name.startswith(_PARTIAL):
                continue
            try:
                found = _load(path)
            except DamagedEndorsement as error:
                yield error
                continue
            if found is not None:
                yield found

    def _path(self, kind: Kind, subject: str) -> Path:
        return self.folder / kind / _name_of(subject)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process compares and replaces meanwhile; what a crash left half-written is removed."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the store {self.folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _forget_oldest(self, kind: Kind) -> None:
        """Make room: strangers' chips, each with a genuine certificate, shall not fill the disk."""
        with contextlib.suppress(OSError):
            entries = sorted(os.scandir(self.folder / kind), key=lambda entry: entry.stat().st_mtime)
            for entry in entries[: max(len(entries) - self.most, 0)]:
                Path(entry.path).unlink(missing_ok=True)

    def _write(self, target: Path, data: bytes) -> None:
        """Whole or not at all, whenever the power goes."""
        try:
            for left in target.parent.glob(f"{_PARTIAL}*"):
                left.unlink()
            descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=target.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(target)
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unavailable(f"{target} cannot be written: {error.strerror}") from error


_REMEDY: Final = "move it away, and fetch or import that endorsement again"


def _load(path: Path) -> Stored | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_KEPT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    try:
        kept = parse_file(data)
        own = describe(kept)
    except (MalformedInput, TooLarge) as error:
        raise DamagedEndorsement(f"{path} is damaged ({error}): {_REMEDY}") from error
    if (path.parent.name, path.name) != (own.kind, _name_of(own.subject)):
        raise DamagedEndorsement(f"{path} holds {own.kind} of {own.subject}, which has another name: {_REMEDY}")
    return Stored(kept, own, path)


def _name_of(subject: str) -> str:
    return (_VLEK if " VLEK of " in subject else "") + hashlib.sha256(subject.encode()).hexdigest()


def _own_subject(kept: Kept) -> str:
    """What it says that it is of; nothing where it does not parse, which its examination will say."""
    try:
        return describe(kept).subject
    except (MalformedInput, TooLarge):
        return ""


def _digest(roots: VendorRoots) -> str:
    """Which roots, in hex digits: one digest for the same pins in whatever order."""
    parts = [f"{product} {pin.hex()}" for product, pin in roots.amd.items()]
    for name in ("intel", "nvidia_devices", "nvidia_manifests"):
        parts += [f"{name} {pin.hex()}" for pin in getattr(roots, name)]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
