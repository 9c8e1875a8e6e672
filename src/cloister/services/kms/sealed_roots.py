"""Root secrets on disk, sealed to this platform and this code: what lets a KMS that ran alone start again.

The file is the host's to lose, damage, copy or put back: what comes out of it is used only where the log speaks of it
and it derives the intake key there. So an old copy holds older generations, never a way past a retirement.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.client.durable import read_at_most, replace_file
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.sealed_roots import MAXIMUM_SEALED_ROOTS, SealedRoot, SealedRoots, parse_sealed_roots
from cloister.node.evidence import Tee
from cloister.secret import SecretBytes

_HEAD: Final = b"cloister sealed roots v1\n"
_NONCE: Final = 12  # bytes
_CONTEXT: Final = b"kms roots v1"


class SealedCopy:
    """The sealed copy of one KMS's root secrets; of none, where its platform has no key or it was given no folder."""

    def __init__(self, folder: Path | None, tee: Tee, *, genesis: bytes) -> None:
        """`genesis` is the digest of the constitution's first entry: another system's copy is not opened."""
        self.lacking = ""  # why nothing is sealed, in words
        self._key: SecretBytes | None = None
        self._failing = False
        # Another version of the code cannot open this one's copy, and must not replace it: one may have to go back.
        self._path = None if folder is None else folder / f"roots-{tee.workload.hex()[:16]}.sealed"
        if folder is None:
            self.lacking = "no folder for sealed roots is set"
            return
        try:
            self._key = tee.sealing_key(_CONTEXT + genesis)
        except CloisterError as error:
            self.lacking = f"the platform gives no key to seal with: {error}"
            return
        if self._key is None:
            self.lacking = f"{tee.platform} has no key to seal with"

    def load(self) -> Mapping[bytes, SecretBytes]:
        """What was sealed, by the digest of each root's entry; nothing where there is none or it is damaged."""
        if self._path is None or self._key is None:
            return {}
        try:
            found = _opened(read_at_most(self._path, MAXIMUM_SEALED_ROOTS), self._key)
        except FileNotFoundError:
            return {}
        except (OSError, MalformedInput, TooLarge) as error:
            structlog.get_logger().warning(
                "the sealed copy of root secrets is not used", file=str(self._path), reason=str(error)
            )
            return {}
        return {one.root: SecretBytes(one.secret) for one in found.roots}

    def store(self, held: Mapping[bytes, SecretBytes]) -> bool:
        """Seal what is held now in place of what was; False where the disk took nothing: it is told of, try again."""
        if self._path is None or self._key is None:
            return True
        roots = tuple(SealedRoot(root=digest, secret=secret.reveal()) for digest, secret in sorted(held.items()))
        nonce = secrets.token_bytes(_NONCE)
        sealed = AESGCM(self._key.reveal()).encrypt(nonce, canonical.encode(SealedRoots(roots=roots)), _HEAD)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, _HEAD + nonce + sealed)
        except OSError as error:
            if not self._failing:
                said = {"file": str(self._path), "reason": error.strerror}
                structlog.get_logger().warning("root secrets were not sealed", **said)
            self._failing = True
            return False
        self._failing = False
        return True


def _opened(data: bytes, key: SecretBytes) -> SealedRoots:
    if not data.startswith(_HEAD) or len(data) < len(_HEAD) + _NONCE:
        raise MalformedInput("is no sealed copy of root secrets")
    nonce, sealed = data[len(_HEAD) :][:_NONCE], data[len(_HEAD) + _NONCE :]
    try:
        return parse_sealed_roots(AESGCM(key.reveal()).decrypt(nonce, sealed, _HEAD))
    except InvalidTag as error:
        raise MalformedInput("is damaged, or was sealed by another platform or system") from error
