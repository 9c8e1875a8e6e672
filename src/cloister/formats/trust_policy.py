"""Trust policies: what a client insists on, as a TOML file (docs/formats/trust-policy.md)."""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.canonical import Digest, Name, Seconds
from cloister.formats.evidence import Unsafe

MAXIMUM_TRUST_POLICY = 64 * 1024  # bytes
KEM_NAMES = {"X-Wing": 0x647A, "X25519": 0x0020}

HexDigest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class TrustPolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file's keys as a person writes them; every one but the last is required."""

    version: Literal[1]
    constitution: HexDigest
    contract: HexDigest
    unsafe: tuple[Unsafe, ...]
    kems: tuple[Literal["X-Wing", "X25519"], ...]
    maximum_state_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=31 * 86_400)]
    maximum_clock_skew_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)]
    verifiers: tuple[Name, ...] = ()  # whoever says nothing believes nobody


class TrustPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pins a KMS by its genesis and a contract by the first of its line; says how fresh and how safe things must be."""

    constitution: Digest  # genesis; successors by its own rules are accepted
    contract: Digest  # first of its line; successors by its own rules are accepted
    unsafe: tuple[Unsafe, ...]
    kems: tuple[int, ...]
    maximum_state_age_seconds: Seconds
    maximum_clock_skew_seconds: Seconds
    verifiers: tuple[Name, ...] = ()  # whose word the contract may take in place of raw evidence


def parse_trust_policy(data: bytes) -> TrustPolicy:
    """Parse a trust policy file, at most 64 KiB of TOML.

    Raises:
        TooLarge, MalformedInput: not a trust policy; the sentence names the key.
    """
    if len(data) > MAXIMUM_TRUST_POLICY:
        raise TooLarge(f"a trust policy of {len(data)} bytes, the cap is {MAXIMUM_TRUST_POLICY}")
    try:
        file = msgspec.convert(tomllib.loads(data.decode()), TrustPolicyFile, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise MalformedInput(f"not a trust policy: {error}") from error
    return TrustPolicy(
        constitution=bytes.fromhex(file.constitution),
        contract=bytes.fromhex(file.contract),
        unsafe=file.unsafe,
        kems=tuple(KEM_NAMES[name] for name in file.kems),
        maximum_state_age_seconds=file.maximum_state_age_seconds,
        maximum_clock_skew_seconds=file.maximum_clock_skew_seconds,
        verifiers=file.verifiers,
    )


def format_trust_policy(policy: TrustPolicy, *, comment: str) -> str:
    """The TOML of `policy`, with `comment` on top."""
    names = {number: name for name, number in KEM_NAMES.items()}
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [
        "version = 1",
        f'constitution = "{policy.constitution.hex()}"  # genesis of the KMS',
        f'contract = "{policy.contract.hex()}"  # first of its line',
        f"unsafe = {json.dumps(policy.unsafe)}",
        f"kems = {json.dumps([names[kem] for kem in policy.kems])}",
        f"maximum_state_age_seconds = {policy.maximum_state_age_seconds}",
        f"maximum_clock_skew_seconds = {policy.maximum_clock_skew_seconds}",
        f"verifiers = {json.dumps(policy.verifiers)}",
    ]
    return "\n".join(lines) + "\n"
