"""What made-up vendors say of made-up hardware, as a store keeps it (cloister.endorsements)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cloister.attest.certificates import fingerprint
from cloister.attest.tdx.quote import Tee
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import (
    AmdKey,
    AmdRevocations,
    IntelPckRevocations,
    IntelQeIdentity,
    IntelRootRevocations,
    IntelTcbInfo,
    Kept,
    NvidiaManifest,
    OcspAnswer,
)
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product, Tcb
from cloister.testing.certificates import Authority, Life
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, measured
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import DAY, TdxHardware, level

_QE_OF: Final = {"TDX": "TD_QE", "SGX": "QE"}


@dataclass(frozen=True, slots=True)
class MadeVendors:
    """AMD, Intel and NVIDIA, made up, with one machine of each; everything of theirs is in date at `at`."""

    at: int  # seconds since 1970
    seed: str = "made-up"
    snp: SnpHardware = field(init=False)
    tdx: TdxHardware = field(init=False)
    nvidia: NvidiaVendor = field(init=False)
    gpu: MadeDevice = field(init=False)

    def __post_init__(self) -> None:
        life = Life(self.at - 400 * DAY, self.at + 400 * DAY)
        object.__setattr__(self, "snp", SnpHardware(seed=self.seed, life=life))
        object.__setattr__(self, "tdx", TdxHardware(at=self.at, seed=f"{self.seed} Intel"))
        object.__setattr__(self, "nvidia", NvidiaVendor(life, f"{self.seed} nvidia"))
        object.__setattr__(self, "gpu", MadeDevice(vendor=self.nvidia))

    @property
    def roots(self) -> VendorRoots:
        """What is pinned in place of the vendors' roots."""
        return VendorRoots(
            amd={product: self.chip(product).root.pin for product in Product},
            intel=tuple(self.tdx.roots),
            nitro=(),
            nvidia_devices=(self.nvidia.device_root.pin,),
            nvidia_manifests=(self.nvidia.rim_root.pin,),
        )

    def chip(self, product: Product) -> SnpHardware:
        """The machine's, had it a chip of this product."""
        return SnpHardware(product, seed=self.seed, life=self.snp.life)

    def lists(self, *, age: int = DAY) -> Life:
        """How long lists and answers count that were made `age` seconds ago: thirty days."""
        return Life(self.at - age, self.at - age + 30 * DAY)

    def amd_key(
        self, kind: SigningKey = SigningKey.VCEK, *, tcb: Tcb | None = None, hardware: SnpHardware | None = None
    ) -> AmdKey:
        """The certificate of a chip's key, or its cloud's, and those above it."""
        chip = hardware or self.snp
        above = (one.public_bytes(Encoding.DER) for one in chip.issuer(kind).chain)
        signer, root = above
        return AmdKey(chain=(chip.certificate(kind, tcb=tcb), signer, root))

    def amd_revocations(self, *, age: int = DAY, hardware: SnpHardware | None = None) -> AmdRevocations:
        """The product's list, which names nobody."""
        root = (hardware or self.snp).root
        return AmdRevocations(data=root.revocations([], self.lists(age=age)), issuer=der(root.certificate))

    def tcb_info(self, tee: Tee = "TDX", **changes: object) -> IntelTcbInfo:
        """TCB info of the machine's FMSPC; `changes` are members of it."""
        info = self.tdx.tcb_info(**changes)
        if tee == "SGX":
            info |= {"id": "SGX", "tcbLevels": [level((5,) * 16, 13, "UpToDate")]}
            info = {name: value for name, value in info.items() if not name.startswith("tdxModule")}
        told = self.tdx.collateral(tcb_info=info)
        return IntelTcbInfo(
            body=told.tcb_info, signature=told.tcb_info_signature, issuer_chain=told.tcb_info_issuer_chain
        )

    def qe_identity(self, tee: Tee = "TDX", **changes: object) -> IntelQeIdentity:
        """The identity of the quoting enclave; `changes` are members of it."""
        told = self.tdx.collateral(qe_identity=self.tdx.qe_identity(**{"id": _QE_OF[tee], **changes}))
        return IntelQeIdentity(
            body=told.qe_identity, signature=told.qe_identity_signature, issuer_chain=told.qe_identity_issuer_chain
        )

    def pck_revocations(self, *, age: int = DAY) -> IntelPckRevocations:
        """The list of the CA of platforms, which names nobody."""
        told = self.tdx.collateral(lists=self.lists(age=age))
        return IntelPckRevocations(data=bytes.fromhex(told.pck_crl), issuer_chain=told.pck_crl_issuer_chain)

    def root_revocations(self, *, age: int = DAY) -> IntelRootRevocations:
        """The list of Intel's root, which names nobody."""
        told = self.tdx.collateral(lists=self.lists(age=age))
        return IntelRootRevocations(data=bytes.fromhex(told.root_ca_crl), issuer=der(self.tdx.root.certificate))

    def manifests(self) -> tuple[NvidiaManifest, NvidiaManifest]:
        """Those of the GPU's driver and of its VBIOS: half of the measurements each."""
        driver, vbios = self.gpu.driver, ".".join(f"{one:02X}" for one in (*self.gpu.vbios[3::-1], self.gpu.vbios[4]))
        named = (f"NV_GPU_DRIVER_GH100_{driver}", driver), (f"NV_GPU_VBIOS____{vbios.replace('.', '')}", vbios)
        halves = (range(32), range(36, 64))
        first, second = (
            NvidiaManifest(
                id=name,
                data=MadeRim(version=version, measurements={one: [measured(one)] for one in half}).file(
                    self.nvidia.rim_signer
                ),
            )
            for (name, version), half in zip(named, halves, strict=True)
        )
        return first, second

    @property
    def authorities(self) -> list[Authority]:
        """All of NVIDIA's that issue certificates, and that a responder is asked about."""
        return [
            self.nvidia.device_root,
            self.nvidia.device_root.authority("provisioner", self.nvidia.life, path_length=1),
            self.nvidia.rim_root,
            self.nvidia.rim_root.authority("rim issuer", self.nvidia.life, path_length=0),
        ]

    def answer(
        self, chain: Sequence[x509.Certificate], *, age: int = DAY, revoked: bool = False, nonce: bytes = b""
    ) -> OcspAnswer:
        """What NVIDIA's responder says of the first of a chain."""
        status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
        responder = Responder(life=self.lists(age=age), status=status, delegated=True, nonce=nonce)
        issuer = next(one for one in self.authorities if fingerprint(one.certificate) == fingerprint(chain[1]))
        return OcspAnswer(data=responder.answer(chain[0], issuer), chain=tuple(map(der, chain)))

    @property
    def chains(self) -> list[Sequence[x509.Certificate]]:
        """All chains that a responder is asked about: above the GPU's leaf, and of the manifests' signer."""
        _, provisioner, _, issuer = self.authorities
        return [self.gpu.rom.chain, provisioner.chain, self.nvidia.rim_signer.chain, issuer.chain]

    def answers(self, *, age: int = DAY) -> list[OcspAnswer]:
        """Of all of these."""
        return [self.answer(chain, age=age) for chain in self.chains]

    def all(self) -> list[Kept]:
        """One of each, and whatever it takes for the GPU."""
        return [
            self.amd_key(),
            self.amd_revocations(),
            self.tcb_info(),
            self.qe_identity(),
            self.pck_revocations(),
            self.root_revocations(),
            *self.manifests(),
            *self.answers(),
        ]


def der(certificate: x509.Certificate) -> bytes:
    """A certificate in DER."""
    return certificate.public_bytes(Encoding.DER)
