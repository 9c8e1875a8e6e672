"""What evidence can need of vendors: each says under which kind and subject a store has it, and what people call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from cryptography import x509

from cloister.attest.certificates import name_of, parse_certificate
from cloister.attest.endorsement_words import answer_subject, hardware_id, key_subject
from cloister.attest.tdx.quote import Tee
from cloister.formats.endorsement_bundle import Kind
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb

PckCa = Literal["platform", "processor"]


@dataclass(frozen=True, slots=True)
class WantedKey:
    """The certificate of a chip's VCEK at a TCB, and those above it."""

    kind: ClassVar[Kind] = "amd-key"
    product: Product
    chip_id: bytes  # 64 bytes, as reports have it
    tcb: Tcb

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return key_subject(self.product, SigningKey.VCEK, self.chip_id, self.tcb)

    @property
    def words(self) -> str:
        """What a person calls it."""
        chip = hardware_id(self.product, self.chip_id).hex()[:16]
        return f"AMD's certificate of the {self.product} chip {chip}… for the TCB {self.tcb}"


@dataclass(frozen=True, slots=True)
class WantedAmdList:
    """The revocation list of a product's root key."""

    kind: ClassVar[Kind] = "amd-revocations"
    product: Product

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return str(self.product)

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"AMD's revocation list for {self.product}"


@dataclass(frozen=True, slots=True)
class WantedTcbInfo:
    """TCB info of a TEE on one kind of platform."""

    kind: ClassVar[Kind] = "intel-tcb-info"
    tee: Tee
    fmspc: bytes  # 6 bytes
    early: bool = False  # of the channel that has a TCB recovery months ahead

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return f"{self.tee} {self.fmspc.hex()}"

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"Intel's TCB info of {self.tee} for FMSPC {self.fmspc.hex()}"


@dataclass(frozen=True, slots=True)
class WantedQeIdentity:
    """The identity of a TEE's quoting enclave."""

    kind: ClassVar[Kind] = "intel-qe-identity"
    tee: Tee
    early: bool = False  # as of TCB info

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return self.tee

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"Intel's identity of the quoting enclave of {self.tee}"


@dataclass(frozen=True, slots=True)
class WantedPckList:
    """The revocation list of the CA that certified a platform."""

    kind: ClassVar[Kind] = "intel-pck-revocations"
    ca: PckCa

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return self.ca

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"the revocation list of Intel's {self.ca} CA"


@dataclass(frozen=True, slots=True)
class WantedRootList:
    """The revocation list of Intel's root."""

    kind: ClassVar[Kind] = "intel-root-revocations"
    subject: ClassVar[str] = "root"
    words: ClassVar[str] = "the revocation list of Intel's root"


@dataclass(frozen=True, slots=True)
class WantedManifest:
    """A reference manifest of NVIDIA's."""

    kind: ClassVar[Kind] = "nvidia-manifest"
    id: str

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return self.id

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"NVIDIA's manifest {self.id}"


@dataclass(frozen=True, slots=True)
class WantedAnswer:
    """What NVIDIA's responder says of a certificate."""

    kind: ClassVar[Kind] = "ocsp-answer"
    chain: tuple[bytes, ...]  # DER: that certificate, its issuers, the root

    @property
    def pair(self) -> tuple[x509.Certificate, x509.Certificate]:
        """The certificate and its issuer."""
        return parse_certificate(self.chain[0]), parse_certificate(self.chain[1])

    @property
    def subject(self) -> str:
        """What a store has it under."""
        return answer_subject(*self.pair)

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"NVIDIA's OCSP answer for {name_of(self.pair[0])}"


Wanted = (
    WantedKey
    | WantedAmdList
    | WantedTcbInfo
    | WantedQeIdentity
    | WantedPckList
    | WantedRootList
    | WantedManifest
    | WantedAnswer
)
