"""The manifest of a model as it lies in a plain folder: every shard read and hashed, in several threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloister.crypto.sealed_stream import SEGMENT
from cloister.errors import UsageError
from cloister.formats.model_manifest import ModelFile, ModelManifest, spans_of
from cloister.sealing.plain_folder import PlainFile, PlainFolder, require_unchanged
from cloister.sealing.writing import naming, threads_here

Hashed = Callable[[int], None]  # so many bytes more


def manifest_of(folder: PlainFolder, name: str, hashed: Hashed) -> ModelManifest:
    """What the model in the folder is; nothing is written.

    Raises:
        UsageError: a file cannot be read, or changed meanwhile.
    """
    files = []
    with ThreadPoolExecutor(threads_here(), thread_name_prefix="hashing") as threads:
        for file in folder.files:
            descriptor = folder.open(file)
            try:
                spans = list(spans_of(file.size))
                digests = []
                for (begin, end), digest in zip(
                    spans, threads.map(lambda span, at=descriptor, of=file: _shard(at, of, *span), spans), strict=True
                ):
                    digests.append(digest)
                    hashed(end - begin)
                require_unchanged(descriptor, file)
            finally:
                os.close(descriptor)
            files.append(ModelFile(path=file.path, size=file.size, shards=b"".join(digests)))
    return ModelManifest(name=name, files=tuple(files))


def _shard(descriptor: int, file: PlainFile, begin: int, end: int) -> bytes:
    digest, room = hashlib.sha256(), memoryview(bytearray(SEGMENT))
    while begin < end:
        with naming(Path(file.path)):
            got = os.preadv(descriptor, [room[: end - begin]], begin)
        if not got:
            raise UsageError(f"{file.path} became shorter while it was read: begin again")
        digest.update(room[:got])
        begin += got
    return digest.digest()
