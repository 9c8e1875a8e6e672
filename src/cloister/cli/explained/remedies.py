"""What to do about a step that failed: for whoever runs the machine, or whoever wrote the policy.

Many shortfalls say it with what they found (`fetch a newer one`); these stand below them, and are never missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_COLLECT: Final = "collect it again, and carry it byte for byte"
_FORGED: Final = "believe none of it: it was changed on its way, or somebody made it"
_ENDORSEMENTS: Final = "fetch the endorsements for this very evidence: cloister endorsements fetch --for FILE"
_CHALLENGE: Final = "ask again with your own challenge, and have it put there whole"
_IMAGE: Final = "start what the policy names; or, if this is what you built, name its measurements in the policy"
_LISTED: Final = "use a machine or guest that the policy names, or name this one in it"
_UPDATE: Final = (
    "update the machine's firmware and restart the guest; or find out what an older level means, and take it"
)
_VM: Final = "change how the guest is started, or what the policy demands of that"
_EXPRESSION: Final = "read the expression with what the evidence says: cloister evidence show"

REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "evidence.platform": "add a part for this platform to the policy, or verify under another; SGX has none",
        "evidence.gpu": "bring evidence of exactly the GPUs that the policy wants, with --gpus",
        "evidence.workload": "start a workload that was asked for, or ask for the one that runs",
        **dict.fromkeys(("snp.form", "tdx.quote", "gpu.form", "rim.form", "rim.content"), _COLLECT),
        **dict.fromkeys(("snp.endorsement", "snp.chip-id", "snp.reported-tcb", "snp.signing-key"), _ENDORSEMENTS),
        "snp.product": "give the certificate of a processor of the same line as the report's",
        "snp.chain": "give the certificates up to the product's root key, in date, and pin the roots that you mean",
        "snp.revocation": "fetch the list of the product's root key anew; if it names this chain, use another machine",
        "snp.freshness": "fetch the newest list: an older one hides what was revoked since",
        **dict.fromkeys(
            ("snp.signature", "tdx.signature", "tdx.qe-signature", "tdx.qe-binding", "gpu.signature"), _FORGED
        ),
        **dict.fromkeys(
            ("tpm.signature", "nitro.signature", "rim.signature", "tpm.pcrs", "azure.runtime-data"), _FORGED
        ),
        **dict.fromkeys(
            ("snp.report-data", "tdx.report-data", "tpm.nonce", "nitro.user-data", "nitro.nonce"), _CHALLENGE
        ),
        "nitro.public-key": "have the enclave put no key into a document that nobody asked for one",
        "gpu.nonce": "ask all GPUs again, with the nonce that is derived from your challenge",
        "snp.debug": "start the guest without DEBUG in its POLICY",
        "snp.migration-agent": "start the guest without MIGRATE_MA in its POLICY",
        **dict.fromkeys(("snp.smt", "snp.single-socket", "snp.guest-policy", "snp.abi"), _VM),
        "snp.vmpl": "have the report asked for at a level that the policy takes, 0 if no paravisor runs above",
        **dict.fromkeys(
            ("snp.signer", "snp.csp-id"), "have the host use a VCEK, or name the cloud's VLEK in the policy"
        ),
        **dict.fromkeys(("snp.tcb", "snp.committed-tcb", "snp.launch-tcb", "snp.firmware", "snp.mitigations"), _UPDATE),
        "snp.platform-info": "set the machine's BIOS as the policy demands, or use another machine",
        **dict.fromkeys(("snp.chip", "tdx.ppid", "tdx.fmspc-list", "snp.host-data"), _LISTED),
        **dict.fromkeys(("snp.id-key", "snp.author-key", "snp.guest-svn"), _LISTED),
        **dict.fromkeys(("snp.measurement", "tdx.image", "nitro.image", "nitro.pcrs", "tpm.pcr-values"), _IMAGE),
        "tdx.tee": "give a TD's quote, not an enclave's",
        "tdx.pck-chain": "have the quoting enclave send its whole chain, and pin no other roots than you mean to",
        **dict.fromkeys(("tdx.lists", "tdx.tcb-info", "tdx.tcb-info-date", "tdx.identity"), _ENDORSEMENTS),
        **dict.fromkeys(("tdx.identity-date", "tdx.rollback", "tdx.fmspc", "tdx.evaluation"), _ENDORSEMENTS),
        "tdx.revocation": "fetch the lists anew; if they name this platform, use another",
        "tdx.qe-identity": "have Intel's quoting enclave make the quote: this one is somebody else's, or too old",
        "tdx.module": "load a TDX module of Intel's",
        **dict.fromkeys(("tdx.tcb-level", "tdx.tcb-status", "tdx.tcb-age"), _UPDATE),
        "tdx.advisories": "update the platform; or read each advisory, and accept it in the policy by name",
        "tdx.debug": "start the TD without DEBUG and the other attributes of the group TUD",
        "tdx.sept-ve": "start the TD with SEPT_VE_DISABLE: newer VMMs set it",
        "tdx.migratable": "start the TD without MIGRATABLE",
        **dict.fromkeys(("tdx.attributes", "tdx.xfam"), _VM),
        "tdx.service-td": "start the TD without service TDs, and have quotes of version 5 made that say so",
        "azure.hardware": "have the VM get a TD quote from Azure's quoting service, and send that too",
        "azure.attestation-key": "collect the report anew: it names no attestation key of the vTPM",
        "azure.td-report": "send the TD quote that was made of this very report",
        "azure.vm-configuration": "change the VM's security profile in Azure, or what the policy demands of it",
        "tpm.pcr-selection": "have the quote made over the PCRs that the policy names, of their SHA-256 bank",
        "nitro.chain": "ask for a new document: its certificate lives three hours; and pin the root that you mean",
        "nitro.time": "ask for a new document, on a machine whose clock is right",
        "nitro.age": "ask for a new document, and verify it at once, by a clock that is right",
        "nitro.debug": "start the enclave without --debug-mode",
        **dict.fromkeys(("gpu.chain", "rim.chain"), "give the whole chain, in date, and pin the roots that you mean"),
        **dict.fromkeys(("gpu.revocation", "rim.revocation", "gpu.rim"), _ENDORSEMENTS),
        "gpu.device": "give the certificates of this very device, the leaf first",
        "gpu.fwid": "give the certificates that the device has since its last firmware update",
        **dict.fromkeys(("gpu.count", "gpu.distinct"), "bring each GPU and switch of the machine, once"),
        **dict.fromkeys(
            ("gpu.architecture", "gpu.driver", "gpu.vbios"), "install what the policy names, or name this in it"
        ),
        "gpu.fwid-stated": "update the GPU's driver to 550 or later, or take reports without the firmware id",
        "gpu.mode": "set the GPUs' confidential mode as the policy demands",
        "gpu.links": "bring the evidence of every switch and GPU at these links",
        "gpu.measurements": "install unchanged firmware, and bring NVIDIA's manifests of exactly these versions",
        **dict.fromkeys(("snp.expressions", "tdx.expressions", "azure.expressions", "nitro.expressions"), _EXPRESSION),
        "gpu.expressions": _EXPRESSION,
    }
)
