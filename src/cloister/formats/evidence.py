"""Evidence and what it binds (docs/formats/evidence.md). One shape for every platform; nothing here is trusted yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Measurement, Name, PublicKey
from cloister.formats.endorsements import Endorsement
from cloister.formats.nvidia_policy import NvidiaUnsafe
from cloister.formats.snp_policy import UnsafeSnp
from cloister.formats.tdx_policy import UnsafeTdx

MAXIMUM_EVIDENCE = 56 * 1024  # bytes; fits a ledger entry beside its statement
MAXIMUM_COMPLETED = 8 * 1024 * 1024  # bytes, with every endorsement that a relying party added
MAXIMUM_EVIDENCE_ITEMS = 4096  # of CBOR; 64 endorsements, 16 devices and the settings come to a few hundred
BINDING_TAG = b"cloister binding v1"
GPU_NONCE_TAG = b"cloister gpu nonce v1"
ON_A_TPM = ("azure-snp", "azure-tdx")  # platforms whose evidence is a quote of a TPM
SOFTWARE_REPORT_TYPE = "application/vnd.cloister.software-report+cbor"

Role = Literal["kms", "gateway", "service"]  # service: a program of others, which gets an identity and nothing else
Unsafe = Literal["UnsafeAllowSoftwareTee", "UnsafeAllowOtherRoots"] | UnsafeSnp | UnsafeTdx | NvidiaUnsafe

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
        return hashlib.sha512(self._preimage()).digest()

    def qualifying_data(self) -> bytes:
        """SHA-512/256 over the same, 32 bytes: what a TPM's quote has room for."""
        return hashlib.new("sha512_256", self._preimage()).digest()

    def carried_on(self, platform: str) -> bytes:
        """What evidence of `platform` carries: the 64 bytes, or a TPM's 32."""
        return self.qualifying_data() if platform in ON_A_TPM else self.report_data()

    def _preimage(self) -> bytes:
        fields = (BINDING_TAG, self.challenge, self.role.encode(), self.settings, self.subject, self.keys, self.gpu)
        return _behind_lengths(fields)


class SoftwareReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the software TEE signs in place of a hardware report: two measurements and the binding."""

    version: Literal[1] = 1
    platform: Literal["software"] = "software"
    platform_measurement: Measurement
    workload: Measurement
    report_data: ReportData


class GpuEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one GPU or switch says, as its driver hands it out."""

    report: Annotated[bytes, msgspec.Meta(min_length=1, max_length=16 * 1024)]  # SPDM request and response
    chain: Annotated[bytes, msgspec.Meta(min_length=1, max_length=16 * 1024)]  # PEM, the device's own first


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node's evidence as it travels: the signed report and the preimages of what it binds."""

    version: Literal[1] = 1
    platform: Name  # any name parses; an appraisal policy says which are accepted
    report: Annotated[bytes, msgspec.Meta(min_length=1, max_length=32 * 1024)]
    endorsements: Annotated[tuple[Endorsement, ...], msgspec.Meta(max_length=64)]
    binding: Binding
    settings: SecuritySettings
    keys: NodeKeys
    gpu: Annotated[tuple[GpuEvidence, ...], msgspec.Meta(max_length=16)]


def gpu_nonce(challenge: bytes, keys: bytes) -> bytes:
    """What every GPU of a node is asked with: 32 bytes, of the challenge and the thumbprint of the node's keys."""
    return hashlib.sha256(_behind_lengths((GPU_NONCE_TAG, challenge, keys))).digest()


def gpu_digest(parts: Iterable[GpuEvidence]) -> bytes:
    """SHA-256 over the GPU evidence, each report and each chain behind its length; empty where there is none."""
    fields = [field for part in parts for field in (part.report, part.chain)]
    return hashlib.sha256(_behind_lengths(fields)).digest() if fields else b""


def _behind_lengths(fields: Iterable[bytes]) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def parse_evidence(data: bytes, *, limit: int = MAXIMUM_EVIDENCE) -> Evidence:
    """Parse evidence: 56 KiB at most where the log holds it, `MAXIMUM_COMPLETED` with all its endorsements.

    Raises:
        TooLarge, MalformedInput: not evidence.
    """
    return canonical.decode(data, Evidence, limit=limit, items=MAXIMUM_EVIDENCE_ITEMS)


def parse_software_report(data: bytes) -> SoftwareReport:
    """Parse the payload of a software TEE's signed report."""
    return canonical.decode(data, SoftwareReport, limit=1024)
