"""Sealing a model's folder, file by file; an interrupted run is taken up where its last finished file ended.

A file that was begun is sealed anew, under a fresh salt: no segment of one key and nonce is ever made twice. Until the
last file is sealed there is a record of what is done instead of a header, so that nobody takes the artifact for whole.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from cloister.crypto.sealed_stream import PREFIX_SIZE, SALT_SIZE, SealedStream, StreamHead, sealed_size
from cloister.errors import MalformedInput, UsageError
from cloister.formats import canonical
from cloister.formats.canonical import Name
from cloister.formats.model_manifest import SHARD, ModelFile, ModelManifest
from cloister.formats.sealed_artifact import (
    FILES_FOLDER,
    HEADER_FILE,
    MAXIMUM_UNFINISHED,
    SIGNATURE_FILE,
    UNFINISHED_FILE,
    SourceFile,
    Unfinished,
    associated_data,
    parse_unfinished,
    sealed_name,
)
from cloister.sealing.artifact_key import key_check, sealed_header
from cloister.sealing.file_sealing import FileSealing
from cloister.sealing.plain_folder import PlainFile, PlainFolder, read_folder, signature_in
from cloister.sealing.sealed_target import SealedTarget
from cloister.sealing.writing import naming, new_file, replace_file, sync_folder, threads_here
from cloister.secret import SecretBytes


class Progress(Protocol):
    """Who watches; called in the thread that seals."""

    def begun(self, total: int, before: int) -> None:
        """So many bytes are to be sealed, of which so many were by an earlier run."""

    def advanced(self, count: int) -> None:
        """So many bytes more are sealed."""


def seal_folder(source: Path, artifact: Path, *, name: str, key: SecretBytes, progress: Progress) -> ModelManifest:
    """Seal every file of a model's folder into an artifact, or go on with one that an earlier run began.

    Its signature, if there is one, goes along as it is.

    Raises:
        UsageError: the folder is no model's, or changed; or the artifact is whole, or of another folder, name or key.
        TooLarge: too many files, or one too large.
        OSError: there is no room, or a disk fails; the same call goes on afterwards.
    """
    folder, signature = read_folder(source), signature_in(source)
    require_elsewhere(source, artifact)
    with _held(artifact) as descriptor:
        begun = _begun(artifact, folder, name, key)
        (artifact / FILES_FOLDER).mkdir(exist_ok=True)
        done = sum(file.size for file in begun.files if file.shards is not None)
        progress.begun(folder.size, done)
        sealed = _Sealing(folder, artifact, key, progress, begun).run()
        if signature is not None:  # before it is whole: nobody comes back for a signature that is missing
            replace_file(artifact / SIGNATURE_FILE, signature)
        header = sealed_header(key, sealed.id, _manifest(sealed))
        replace_file(artifact / HEADER_FILE, canonical.encode(header))
        (artifact / UNFINISHED_FILE).unlink()
        os.fsync(descriptor)
    return _manifest(sealed)


def is_begun(artifact: Path) -> bool:
    """Whether an earlier run began it, and this one goes on.

    Raises:
        UsageError: it is whole.
    """
    if (artifact / UNFINISHED_FILE).exists():
        return True
    if (artifact / HEADER_FILE).exists():
        raise UsageError(f"{artifact} is a whole artifact already: name another place, or remove it first")
    return False


def require_elsewhere(source: Path, target: Path) -> None:
    """Hold that what is made does not lie in the folder that it is made of.

    Raises:
        UsageError: it does.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{target} lies in {source}: name a place outside of the folder that is read")


def new_folder(place: Path) -> None:
    """Make a folder, unless it is there and empty.

    Raises:
        UsageError: it cannot be made, or holds something.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        held = any(place.iterdir())
    except OSError as error:
        raise UsageError(f"the folder {place} cannot be made: {error.strerror}") from error
    if held:
        raise UsageError(f"{place} holds something already: name a folder that is empty, or not there")


@contextmanager
def _held(artifact: Path) -> Iterator[int]:
    """The artifact's folder, made where it was not, for this run alone."""
    if not is_begun(artifact):
        new_folder(artifact)
    descriptor = os.open(artifact, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"another run is sealing into {artifact}: let it end") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _begun(artifact: Path, folder: PlainFolder, name: str, key: SecretBytes) -> Unfinished:
    """What an earlier run has done, if it was of the same folder, name and key; else the record of a new one."""
    place = artifact / UNFINISHED_FILE
    if place.exists():
        return _taken_up(place, folder, name, key)
    drawn = secrets.token_bytes(16)
    begun = Unfinished(
        id=drawn,
        key_check=key_check(key, drawn),
        name=model_name(name),
        files=tuple(SourceFile(path=one.path, size=one.size, changed=one.changed, shards=None) for one in folder.files),
    )
    replace_file(place, canonical.encode(begun))
    return begun


def model_name(name: str) -> str:
    """The name, if a model may have it.

    Raises:
        UsageError: it may not.
    """
    try:
        return msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is no name of a model: up to 128 letters, digits and . _ / + : @ - and spaces"
        ) from error


def _taken_up(place: Path, folder: PlainFolder, name: str, key: SecretBytes) -> Unfinished:
    try:
        with place.open("rb") as file:
            begun = parse_unfinished(file.read(MAXIMUM_UNFINISHED + 1))
    except (OSError, MalformedInput) as error:
        raise UsageError(f"{place} cannot be read: remove {place.parent}, and begin again") from error
    was = [PlainFile(one.path, one.size, one.changed) for one in begun.files]
    for same, what in (
        (begun.key_check == key_check(key, begun.id), "under another key"),
        (begun.name == name, f"under the name {begun.name}"),
        (was == list(folder.files), "of another folder, or of one that changed since"),
    ):
        if not same:
            raise UsageError(f"{place.parent} was begun {what}: go on as it was begun, or remove it and begin again")
    return begun


def _manifest(sealed: Unfinished) -> ModelManifest:
    files = tuple(ModelFile(path=one.path, size=one.size, shards=one.shards or b"") for one in sealed.files)
    return ModelManifest(name=sealed.name, files=files)


@dataclass(slots=True)
class _Sealing:
    """One run over the files that are not sealed yet."""

    folder: PlainFolder
    artifact: Path
    key: SecretBytes
    progress: Progress
    record: Unfinished
    unsaved: int = field(default=0)  # bytes that are sealed and not in the record on disk

    def run(self) -> Unfinished:
        """Seal what is left; the record of all."""
        files = list(self.record.files)
        with ThreadPoolExecutor(threads_here(waiting=2), thread_name_prefix="sealing") as threads:
            for number, file in enumerate(files):
                if file.shards is None:
                    shards = self._seal(number, threads)
                    files[number] = msgspec.structs.replace(file, shards=shards)
                    self._save(files, file.size)
        return self.record

    def _seal(self, number: int, threads: Executor) -> bytes:
        file = self.folder.files[number]
        head = StreamHead(secrets.token_bytes(SALT_SIZE), secrets.token_bytes(PREFIX_SIZE))
        stream = SealedStream(self.key, head, associated=associated_data(self.record.id, file.path), size=file.size)
        plain = self.folder.open(file)
        place = self.artifact / FILES_FOLDER / sealed_name(number)
        try:
            with naming(place):
                sealed = new_file(place)
                try:
                    with SealedTarget(sealed, sealed_size(file.size)) as target:
                        shards = FileSealing(file, head, stream, plain, target).run(threads, self.progress.advanced)
                    os.fsync(sealed)
                finally:
                    os.close(sealed)
        finally:
            os.close(plain)
        return shards

    def _save(self, files: list[SourceFile], size: int) -> None:
        """Put the record on disk, once for many small files: it has a line for every file of the model."""
        self.record = msgspec.structs.replace(self.record, files=tuple(files))
        self.unsaved += size
        if self.unsaved >= SHARD:
            sync_folder(self.artifact / FILES_FOLDER)
            replace_file(self.artifact / UNFINISHED_FILE, canonical.encode(self.record))
            self.unsaved = 0
