"""The vendors' roots that callers pin: SHA-256 of each root's public key (attest.certificates.fingerprint).

Whoever examines evidence says which roots they take; these are what a person who trusts a vendor gives.
"""

from __future__ import annotations

from typing import Final

from cloister.formats.appraisal_policy import AppraisalPolicy, VendorRoots
from cloister.formats.snp_tcb import Product

# AMD: the root keys (ARK) at https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain, the last certificate of
# each; /vlek/v1 ends in the same ones. Bergamo and Siena have Genoa's (AMD 57230, section 3).
AMD_ARK_MILAN: Final = bytes.fromhex("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9")
AMD_ARK_GENOA: Final = bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831")
AMD_ARK_TURIN: Final = bytes.fromhex("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08")
AMD_ARKS: Final = {Product.MILAN: AMD_ARK_MILAN, Product.GENOA: AMD_ARK_GENOA, Product.TURIN: AMD_ARK_TURIN}

# Intel: the SGX root CA at
# https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer, of SGX and TDX alike.
INTEL_SGX_ROOT: Final = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")

# AWS: "AWS Nitro Enclaves Root-G1", https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip, whose
# certificate has the SHA-256 fingerprint 641a0321…bb5b that AWS publishes beside it.
AWS_NITRO_ROOT_G1: Final = bytes.fromhex("f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225")

# NVIDIA: of devices (GPUs and LS10 switches) "NVIDIA Device Identity CA", and of manifests "NVIDIA CoRIM signing Root
# CA", as nvtrust ships them: guest_tools/gpu_verifiers/local_gpu_verifier/src/verifier/certs/verifier_device_root.pem
# and verifier_RIM_root.pem.
NVIDIA_DEVICES: Final = bytes.fromhex("a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4")
NVIDIA_MANIFESTS: Final = bytes.fromhex("dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3")

VENDORS: Final = VendorRoots(
    amd=AMD_ARKS,
    intel=(INTEL_SGX_ROOT,),
    nitro=(AWS_NITRO_ROOT_G1,),
    nvidia_devices=(NVIDIA_DEVICES,),
    nvidia_manifests=(NVIDIA_MANIFESTS,),
)


def roots_of(policy: AppraisalPolicy) -> VendorRoots:
    """The roots that a policy takes."""
    return VENDORS if policy.roots == "vendors" else policy.roots
