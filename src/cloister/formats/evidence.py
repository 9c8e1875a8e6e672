"""Evidence and what it binds (docs/formats/evidence.md). One shape for every platform; nothing here is trusted yet."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Measurement, Name, PublicKey

MAXIMUM_EVIDENCE = 48 * 1024  # bytes; fits a ledger entry beside its statement
BINDING_TAG = b"cloister binding v1"
SOFTWARE_REPORT_TYPE = "application/vnd.cloister.software-report+cbor"

Role = Literal["kms", "gateway"]
Unsafe = Literal["UnsafeAllowSoftwareTee"]
Platform = Literal["software"]

XWingPublicKey = Annotated[bytes, msgspec.Meta(min_length=1216, max_length=1216)]
ReportData = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
GpuDigest = Annotated[bytes, msgspec.Meta(max_length=32)]  # empty: no GPU evidence; else SHA-256
Setting = Annotated[str, msgspec.Meta(max_length=1024)] | int | bool  # digests as hex digits


class NodeKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public keys a node made when it started; their secrets never leave its memory."""

    sign: PublicKey  # Ed25519: statements of a KMS, receipts of a gateway
    wrap: XWingPublicKey  # X-Wing: what is released is encrypted to it

    def thumbprint(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()


class SecuritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of a service that bears on security; its digest is in the binding."""

    version: Literal[1] = 1
    role: Role
    unsafe: tuple[Unsafe, ...]  # each flag a claim of its own
    values: dict[Name, Setting]

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The preimage of the 64 bytes that evidence carries."""

    challenge: Digest
    role: Role
    settings: Digest
    subject: Digest  # the contract's digest; for a KMS the constitution's
    keys: Digest  # thumbprint of the node's keys
    gpu: GpuDigest

    def report_data(self) -> bytes:
        """SHA-512 over the tag and every field, each behind its length in 4 bytes, big-endian: 64 bytes.

        Without the lengths, bytes could move from one field to its neighbour under the same hash.
        """
        fields = (BINDING_TAG, self.challenge, self.role.encode(), self.settings, self.subject, self.keys, self.gpu)
        return hashlib.sha512(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).digest()


class SoftwareReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the software TEE signs in place of a hardware report: two measurements and the binding."""

    version: Literal[1] = 1
    platform: Literal["software"] = "software"
    platform_measurement: Measurement
    workload: Measurement
    report_data: ReportData


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node's evidence as it travels: the signed report and the preimages of what it binds."""

    version: Literal[1] = 1
    platform: Name  # any name parses; an appraisal policy says which are accepted
    report: Annotated[bytes, msgspec.Meta(min_length=1, max_length=32 * 1024)]
    endorsements: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=16)]
    binding: Binding
    settings: SecuritySettings
    keys: NodeKeys
    gpu: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=16)]

    def gpu_digest(self) -> bytes:
        """SHA-256 over the GPU evidence carried, each behind its length; empty where none is carried."""
        if not self.gpu:
            return b""
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in self.gpu)).digest()


def parse_evidence(data: bytes) -> Evidence:
    """Parse evidence, at most 48 KiB.

    Raises:
        TooLarge, MalformedInput: not evidence.
    """
    return canonical.decode(data, Evidence, limit=MAXIMUM_EVIDENCE)


def parse_software_report(data: bytes) -> SoftwareReport:
    """Parse the payload of a software TEE's signed report."""
    return canonical.decode(data, SoftwareReport, limit=1024)
