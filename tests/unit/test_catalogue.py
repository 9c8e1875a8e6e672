"""The check catalogue is complete: table, examinations, tests and page say the same."""

import ast
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

from cloister.attest.azure_token import AZURE_TOKEN_STEPS
from cloister.attest.azure_vm import (
    AZURE_SNP_APPRAISAL_STEPS,
    AZURE_SNP_STEPS,
    AZURE_TDX_APPRAISAL_STEPS,
    AZURE_TDX_STEPS,
)
from cloister.attest.confidential_space import CONFIDENTIAL_SPACE_STEPS
from cloister.attest.endorsements import ENDORSEMENT_STEPS
from cloister.attest.evidence import EVIDENCE_STEPS
from cloister.attest.named_token import EAR_TOKEN_STEPS
from cloister.attest.nitro import NITRO_APPRAISAL_STEPS, NITRO_STEPS
from cloister.attest.nvidia.appraisal import NVIDIA_APPRAISAL_STEPS
from cloister.attest.nvidia.device import DEVICE_STEPS
from cloister.attest.nvidia.rim import RIM_STEPS
from cloister.attest.request import ATTESTATION_STEPS
from cloister.attest.result import TOKEN_STEPS
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS
from cloister.attest.snp.authentic import SNP_STEPS
from cloister.attest.tdx.appraised import SGX_APPRAISAL_STEPS, TDX_APPRAISAL_STEPS
from cloister.attest.tdx.authentic import SGX_STEPS, TDX_STEPS
from cloister.attest.tpm import TPM_APPRAISAL_STEPS, TPM_STEPS
from cloister.contract.audit.findings import AUDIT_STEPS
from cloister.contract.handover import HANDED_STEPS, HANDOVER_STEPS, LOGGED_HANDOVER_STEPS
from cloister.contract.identity_release import IDENTITY_STEPS, ISSUE_STEPS, OWN_IDENTITY_STEPS
from cloister.contract.recovery import RECOVERY_STEPS, SHARE_STEPS
from cloister.contract.release_policy import RELEASE_POLICY_STEPS
from cloister.contract.release_steps import (
    ASSET_STEPS,
    PUBLICATION_STEPS,
    RELEASE_STEPS,
    USE_PUBLICATION_STEPS,
)
from cloister.contract.replay import REPLAY_STEPS
from cloister.contract.sections import SECTION_STEPS
from cloister.contract.task_assets import MODEL_STEPS
from cloister.ledger.checkpoints import SIGNED_STEPS
from cloister.ledger.mirror import MIRROR_STEPS
from cloister.ledger.proofs import PROOF_STEPS
from cloister.sealing.artifact import ARTIFACT_STEPS
from cloister.sealing.signature import SIGNATURE_STEPS
from cloister.services.deployment.examination import MANIFEST_STEPS
from cloister.services.deployment.workloads import WORKLOAD_STEPS
from cloister.trust.asset_reply import ASSET_REPLY_STEPS
from cloister.trust.bundle import BUNDLE_STEPS
from cloister.trust.hyper_protect import HYPER_PROTECT_STEPS
from cloister.trust.identity import LOGGED_PEER_STEPS, PEER_STEPS
from cloister.trust.identity_reply import IDENTITY_REPLY_STEPS
from cloister.trust.intake import INTAKE_STEPS
from cloister.trust.receipt import RECEIPT_STEPS
from cloister.trust.release_reply import REPLY_STEPS

SOURCE = Path("src/cloister")
# Types that open doors, and the one module that may build each.
DOORS = {
    "AcceptedManifest": "services/deployment/examination.py",
    "SignedManifest": "services/deployment/signed_manifest.py",
    "AppraisedNvidia": "attest/nvidia/appraisal.py",
    "AuthenticEndorsement": "attest/endorsements.py",
    "AuthenticDevice": "attest/nvidia/device.py",
    "AuthenticRim": "attest/nvidia/rim.py",
    "AppraisedAzure": "attest/azure.py",
    "AppraisedAzureSnp": "attest/azure_vm.py",
    "AppraisedAzureTdx": "attest/azure_vm.py",
    "AppraisedEvidence": "attest/evidence.py",
    "AppraisedNitro": "attest/nitro.py",
    "AppraisedQuote": "attest/tpm.py",
    "AppraisedSnp": "attest/snp/appraised.py",
    "AppraisedSgx": "attest/tdx/appraised.py",
    "AppraisedTdx": "attest/tdx/appraised.py",
    "AppraisedVendorEvidence": "attest/vendor_evidence.py",
    "AuthenticCollateral": "attest/tdx/collateral.py",
    "AuthenticIntelQuote": "attest/tdx/quote.py",
    "AuthenticAzure": "attest/azure.py",
    "AuthenticAzureSnp": "attest/azure_vm.py",
    "AuthenticAzureTdx": "attest/azure_vm.py",
    "AuthenticRuntime": "attest/azure.py",
    "AuthenticLog": "attest/replay.py",
    "AuthenticNitro": "attest/nitro.py",
    "AuthenticQuote": "attest/tpm.py",
    "AuthenticReport": "attest/software.py",
    "AuthenticSnp": "attest/snp/authentic.py",
    "AuthenticSgx": "attest/tdx/authentic.py",
    "AuthenticTdx": "attest/tdx/authentic.py",
    "AssetDecision": "contract/asset_release.py",
    "IdentityDecision": "contract/identity_release.py",
    "HandoverDecision": "contract/handover.py",
    "PublishedIdentity": "contract/identity_release.py",
    "PublishedHandover": "contract/handover.py",
    "ImportedContract": "trust/hyper_protect.py",
    "MirroredLog": "ledger/mirror.py",
    "ProvenEntry": "ledger/proofs.py",
    "PublishedRelease": "contract/release.py",
    "PublishedUse": "contract/asset_release.py",
    "GivenShare": "contract/recovery.py",
    "RecoveredRoot": "contract/recovery.py",
    "ReleaseDecision": "contract/release.py",
    "ReplayedLog": "contract/replay.py",
    "SignedStatement": "ledger/statements.py",
    "TrustedEpoch": "trust/keys.py",
    "TrustedGateway": "trust/keys.py",
    "TrustedKeys": "trust/keys.py",
    "VerifiedAssets": "trust/asset_reply.py",
    "VerifiedBackup": "ledger/backup.py",
    "VerifiedBundle": "trust/bundle.py",
    "VerifiedIntake": "trust/intake.py",
    "VerifiedCheckpoint": "ledger/checkpoints.py",
    "VerifiedDemand": "attest/request.py",
    "VerifiedIdentity": "trust/identity_reply.py",
    "VerifiedPeer": "trust/identity.py",
    "VerifiedHandover": "contract/handover.py",
    "VerifiedReceipt": "trust/receipt.py",
    "VerifiedSections": "contract/sections.py",
    "VerifiedTaskAssets": "contract/task_assets.py",
    "VerifiedResult": "attest/result.py",
    "VerifiedRelease": "trust/release_reply.py",
}


def table():
    def names(part, prefix=""):
        for name, value in part.items():
            if "says" in value:
                assert set(value) == {"says", "guards"}
                yield prefix + name
            else:
                yield from names(value, f"{prefix}{name}.")

    return list(names(tomllib.loads((SOURCE / "checks.toml").read_text())))


def test_the_table_names_every_step_and_no_other():
    steps = {
        *ARTIFACT_STEPS,
        *SIGNATURE_STEPS,
        *ASSET_REPLY_STEPS,
        *ASSET_STEPS,
        *ATTESTATION_STEPS,
        *AUDIT_STEPS,
        *AZURE_SNP_APPRAISAL_STEPS,
        *AZURE_SNP_STEPS,
        *AZURE_TOKEN_STEPS,
        *AZURE_TDX_APPRAISAL_STEPS,
        *AZURE_TDX_STEPS,
        *BUNDLE_STEPS,
        *CONFIDENTIAL_SPACE_STEPS,
        *EAR_TOKEN_STEPS,
        *DEVICE_STEPS,
        *ENDORSEMENT_STEPS,
        *EVIDENCE_STEPS,
        *HANDED_STEPS,
        *HANDOVER_STEPS,
        *HYPER_PROTECT_STEPS,
        *IDENTITY_REPLY_STEPS,
        *IDENTITY_STEPS,
        *ISSUE_STEPS,
        *OWN_IDENTITY_STEPS,
        *LOGGED_PEER_STEPS,
        *PEER_STEPS,
        *LOGGED_HANDOVER_STEPS,
        *MANIFEST_STEPS,
        *WORKLOAD_STEPS,
        *MIRROR_STEPS,
        *INTAKE_STEPS,
        *NVIDIA_APPRAISAL_STEPS,
        *NITRO_APPRAISAL_STEPS,
        *NITRO_STEPS,
        *PROOF_STEPS,
        *PUBLICATION_STEPS,
        *RECEIPT_STEPS,
        *SHARE_STEPS,
        *RECOVERY_STEPS,
        *RELEASE_POLICY_STEPS,
        *RELEASE_STEPS,
        *REPLAY_STEPS,
        *REPLY_STEPS,
        *RIM_STEPS,
        *SECTION_STEPS,
        *MODEL_STEPS,
        *SGX_APPRAISAL_STEPS,
        *SGX_STEPS,
        *SIGNED_STEPS,
        *TOKEN_STEPS,
        *TDX_APPRAISAL_STEPS,
        *TDX_STEPS,
        *TPM_APPRAISAL_STEPS,
        *TPM_STEPS,
        *USE_PUBLICATION_STEPS,
        *SNP_APPRAISAL_STEPS,
        *SNP_STEPS,
    }
    assert sorted(table()) == sorted(steps)


def test_no_examination_performs_a_step_twice():
    for steps in (
        (*ARTIFACT_STEPS, *SIGNATURE_STEPS),
        ASSET_REPLY_STEPS,
        ASSET_STEPS,
        AUDIT_STEPS,
        BUNDLE_STEPS,
        DEVICE_STEPS,
        ENDORSEMENT_STEPS,
        EVIDENCE_STEPS,
        (*HANDOVER_STEPS, *LOGGED_HANDOVER_STEPS),
        HANDED_STEPS,
        IDENTITY_REPLY_STEPS,
        (*IDENTITY_STEPS, *ISSUE_STEPS),
        OWN_IDENTITY_STEPS,
        LOGGED_PEER_STEPS,
        INTAKE_STEPS,
        HYPER_PROTECT_STEPS,
        NVIDIA_APPRAISAL_STEPS,
        AZURE_SNP_STEPS,
        AZURE_SNP_APPRAISAL_STEPS,
        AZURE_TDX_STEPS,
        AZURE_TDX_APPRAISAL_STEPS,
        (*NITRO_STEPS, *NITRO_APPRAISAL_STEPS),
        (*TPM_STEPS, *TPM_APPRAISAL_STEPS),
        (*MANIFEST_STEPS, *WORKLOAD_STEPS),
        MIRROR_STEPS,
        PROOF_STEPS,
        PUBLICATION_STEPS,
        RECEIPT_STEPS,
        SHARE_STEPS,
        RECOVERY_STEPS,
        RELEASE_STEPS,
        REPLAY_STEPS,
        REPLY_STEPS,
        (*SNP_STEPS, *SNP_APPRAISAL_STEPS),
        RIM_STEPS,
        SECTION_STEPS,
        MODEL_STEPS,
        (*SGX_STEPS, *SGX_APPRAISAL_STEPS),
        (*TDX_STEPS, *TDX_APPRAISAL_STEPS),
        ATTESTATION_STEPS,
        AZURE_TOKEN_STEPS,
        CONFIDENTIAL_SPACE_STEPS,
        EAR_TOKEN_STEPS,
        TOKEN_STEPS,
    ):
        assert len(set(steps)) == len(steps)


def test_every_check_has_a_test_and_the_page_names_it(request):
    unit = [item for item in request.session.items if item.nodeid.startswith("tests/unit/")]
    if {item.path for item in unit} >= set(Path("tests/unit").resolve().rglob("test_*.py")):
        script = runpy.run_path("scripts/check_catalogue.py")
        marks = script["Marks"]()
        marks.take(unit)  # all of them are here: collected once more, they would be the same
        script["compare"](script["page"](marks))
        return
    command = [sys.executable, "scripts/check_catalogue.py"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr


def test_a_verified_type_is_built_in_its_own_module_only():
    for module in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in DOORS:
                assert str(module.relative_to(SOURCE)) == DOORS[name], f"{module}:{node.lineno} builds a {name}"


def test_every_type_that_opens_doors_is_listed():
    words = ("Verified", "Appraised", "Authentic", "Published", "ProvenEntry", "Mirrored", "Replayed", "Trusted")
    found = {
        node.name
        for module in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.startswith(words)
    }
    assert found <= DOORS.keys()
