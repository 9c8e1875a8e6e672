"""Cosignatures of witnesses (C2SP tlog-cosignature): Ed25519 over the note's text, ML-DSA-44 over the tree head.

A constitution names a witness by an Ed25519 key, and by an ML-DSA-44 key where it has one. One that is named by both
has cosigned where both say so: the time is then the earlier, which neither key's thief can push forward alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cloister.crypto.ml_dsa import MlDsaKey, check_ml_dsa_signature
from cloister.crypto.signing import BadSignature, SigningKey, check_signature
from cloister.errors import MalformedInput
from cloister.formats.checkpoint import (
    COSIGNATURE_ML_DSA,
    COSIGNATURE_V1,
    MAXIMUM_SIZE,
    NoteSignature,
    SignedNote,
    cosigned_head,
    cosigned_message,
    format_vkey,
    key_id,
    parse_checkpoint,
)
from cloister.formats.constitution import Witness


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """What a witness signs with."""

    ed25519: SigningKey
    ml_dsa: MlDsaKey | None = None  # where it is named by such a key too

    def named(self, name: str) -> Witness:
        """The witness `name` with these keys, as a constitution has it."""
        ml_dsa = b"" if self.ml_dsa is None else self.ml_dsa.public
        return Witness(name=name, key=self.ed25519.public, ml_dsa=ml_dsa)


def verifier_keys(witness: Witness) -> list[str]:
    """The witness's keys as text names them, one or two."""
    first = format_vkey(witness.name, witness.key, kind=COSIGNATURE_V1)
    return [first, format_vkey(witness.name, witness.ml_dsa, kind=COSIGNATURE_ML_DSA)] if witness.ml_dsa else [first]


def cosign(note: SignedNote, name: str, key: SigningKey, *, at: int) -> NoteSignature:
    """A witness's Ed25519 cosignature (cosignature/v1) at the time `at`: 8 bytes of time, 64 of signature."""
    signature = key.sign(cosigned_message(note.text, at))
    return NoteSignature(name, key_id(name, key.public, kind=COSIGNATURE_V1), at.to_bytes(8, "big") + signature)


def cosign_by_all(note: SignedNote, name: str, keys: WitnessKeys, *, at: int) -> tuple[NoteSignature, ...]:
    """A witness's cosignatures by each of its keys at the time `at`; the note is a checkpoint's."""
    first = cosign(note, name, keys.ed25519, at=at)
    if keys.ml_dsa is None:
        return (first,)
    signature = keys.ml_dsa.sign(cosigned_head(name, at, parse_checkpoint(note.text)))
    identity = key_id(name, keys.ml_dsa.public, kind=COSIGNATURE_ML_DSA)
    return first, NoteSignature(name, identity, at.to_bytes(8, "big") + signature)


def own_lines(note: SignedNote, witness: Witness) -> tuple[NoteSignature, ...]:
    """The signature lines that claim to be by one of the witness's keys; none is checked."""
    identities = {key_id(witness.name, witness.key, kind=COSIGNATURE_V1)}
    if witness.ml_dsa:
        identities.add(key_id(witness.name, witness.ml_dsa, kind=COSIGNATURE_ML_DSA))
    return tuple(line for line in note.signatures if line.name == witness.name and line.key_id in identities)


def cosignature_time(note: SignedNote, witness: Witness) -> int | None:
    """When `witness` cosigned the note, by all of its keys; None where it did not, or by one of two keys only.

    Lines of others are skipped, as the format says.

    Raises:
        BadSignature: a line in its name that does not hold.
    """

    def check_ed25519(signature: bytes, at: int) -> None:
        check_signature(witness.key, signature, cosigned_message(note.text, at))

    def check_ml_dsa(signature: bytes, at: int) -> None:
        try:
            head = cosigned_head(witness.name, at, parse_checkpoint(note.text))
        except MalformedInput as error:
            raise BadSignature(f"what {witness.name} cosigned is no checkpoint: {error}") from error
        check_ml_dsa_signature(witness.ml_dsa, signature, head)

    time = _latest(note, witness.name, key_id(witness.name, witness.key, kind=COSIGNATURE_V1), check_ed25519)
    if not witness.ml_dsa or time is None:
        return time
    identity = key_id(witness.name, witness.ml_dsa, kind=COSIGNATURE_ML_DSA)
    post_quantum = _latest(note, witness.name, identity, check_ml_dsa)
    return None if post_quantum is None else min(time, post_quantum)


def _latest(note: SignedNote, name: str, identity: bytes, check: Callable[[bytes, int], None]) -> int | None:
    """The latest time of the cosignatures by one key."""
    times = []
    for line in note.signatures:
        if (line.name, line.key_id) != (name, identity):
            continue
        if len(line.signature) < 8:
            raise BadSignature(f"a cosignature of {name} begins with 8 bytes of time")
        at = int.from_bytes(line.signature[:8], "big")
        if at > MAXIMUM_SIZE:
            raise BadSignature(f"a cosignature of {name} is of a time beyond 2^63 - 1")
        check(line.signature[8:], at)
        times.append(at)
    return max(times, default=None)
