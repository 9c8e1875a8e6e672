"""A model's signature in OpenSSF's form: made over a manifest, and held against one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from cloister.crypto.elliptic_key import EllipticKey, EllipticPublicKey
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, UsageError
from cloister.examination import Examination, Steps
from cloister.formats.model_manifest import SHARD, ModelManifest
from cloister.formats.model_signature import (
    ModelSignature,
    SignedModel,
    encode_signature,
    manifest_of,
    parse_signature,
    parse_signed_model,
    resources_of,
    signed_bytes,
    statement_of,
)
from cloister.sealing.refusal import ArtifactRefused

SIGNATURE_STEPS: Final = ("artifact.signature", "artifact.signed")


def sign_model(manifest: ModelManifest, key: EllipticKey, *, ignored: Sequence[str]) -> bytes:
    """The bundle in which the key's owner says this model; `ignored` names what lies beside it and is no part of it.

    Raises:
        UsageError: it has an empty file, which no signature of this form speaks of.
    """
    if (empty := _empty(manifest)) is not None:
        raise UsageError(f"{empty} is empty, and no signature of this form speaks of empty files: remove it first")
    payload = msgspec.json.encode(statement_of(manifest, ignored))
    signature = key.sign(signed_bytes(payload))
    return encode_signature(ModelSignature(payload=payload, signature=signature, key=key.public.fingerprint))


def require_signed(manifest: ModelManifest, bundle: bytes, signer: EllipticPublicKey) -> None:
    """Hold a bundle against the model and the key of who should have signed it.

    Raises:
        TooLarge, MalformedInput: it is no bundle by a key.
        ArtifactRefused: artifact.signature, or artifact.signed.
    """
    # 1. The signer first: nothing of a stranger's statement is read.
    try:
        signed = _signed_by(signer, bundle)
    except BadSignature as error:
        raise ArtifactRefused("artifact.signature", str(error)) from error
    # 2. What was signed is this model: its name, and all its files, shard for shard.
    if (lacks := _lacks(manifest, signed)) is not None:
        raise ArtifactRefused("artifact.signed", lacks)


def examine_signed(digests: Collection[bytes], bundle: bytes, signer: EllipticPublicKey) -> Examination[ModelManifest]:
    """Hold a bundle against the models that have one of these digests, 32 bytes each; no file of theirs is needed.

    Raises:
        TooLarge, MalformedInput: it is no bundle by a key.
    """
    steps = Steps(SIGNATURE_STEPS, ArtifactRefused)
    by = f"by {signer.fingerprint.hex()}"
    signed = steps.attempt("artifact.signature", lambda: _signed_by(signer, bundle), BadSignature, found=by)
    if signed is None:
        return steps.stopped()
    manifest = steps.attempt(
        "artifact.signed", lambda: manifest_of(signed), MalformedInput, found=signed.subject[0].name
    )
    if manifest is None:
        return steps.stopped()
    said = f"it is over {manifest.name} with the digest {manifest.digest().hex()}, another model or another version"
    steps.check("artifact.signed", manifest.digest() in digests, said, found=manifest.name)
    return steps.examined(lambda: manifest)


def _signed_by(signer: EllipticPublicKey, bundle: bytes) -> SignedModel:
    found = parse_signature(bundle)
    if found.key != signer.fingerprint:
        raise BadSignature(f"it is by the key {found.key.hex()[:16]}…, which is another one")
    signer.check(found.signature, found.signed)
    return parse_signed_model(found.payload)


def _lacks(manifest: ModelManifest, signed: SignedModel) -> str | None:
    cut = signed.predicate.serialization
    if (cut.method, cut.hash_type, cut.shard_size) != ("shards", "sha256", SHARD):
        return f"it is over {cut.method} by {cut.hash_type}, not over shards of {SHARD} bytes by sha256: sign it so"
    if (name := signed.subject[0].name) != manifest.name:
        return f"it is over a model called {name!r}, and this one is called {manifest.name!r} (a folder's: see --name)"
    # An empty chat template beside a signed one changes what the model is told.
    if (empty := _empty(manifest)) is not None:
        return f"{empty} is empty, and the signature speaks of no empty file: whoever put it there is not known"
    known = {one.name: one for one in resources_of(manifest)}
    said = {one.name: one for one in signed.predicate.resources}
    if len(said) != len(signed.predicate.resources):
        return "it names a shard twice"
    odd = sorted(name for name in known.keys() | said.keys() if known.get(name) != said.get(name))
    return f"{odd[0]} is another or missing, one of {len(odd)}" if odd else None


def _empty(manifest: ModelManifest) -> str | None:
    return next((file.path for file in manifest.files if not file.size), None)
