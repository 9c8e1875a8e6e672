"""What real vendors say is kept, and completes recorded evidence of real machines; what is wrong with it is named."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.vectors.attestation import cases, folder
from tests.vectors.attestation.test_cases import ABSENT

from cloister.attest.certificates import parse_certificates
from cloister.attest.endorsements import describe, examine_endorsement
from cloister.attest.revocation import parse_list
from cloister.attest.roots import VENDORS
from cloister.endorsements.bare_evidence import read_bare_evidence
from cloister.endorsements.completion import complete
from cloister.endorsements.offered import parts_of_collateral
from cloister.endorsements.store import EndorsementStore
from cloister.formats.endorsement_bundle import AmdKey, AmdRevocations, NvidiaManifest
from cloister.formats.intel_collateral import parse_collateral

ACCEPTED = {
    case.id: case
    for case in cases()
    if case.kind in ("snp", "tdx", "sgx")
    and case.reason is None
    and ("chain" in case.data or "collateral" in case.data)
}
MANIFESTS = {
    "driver_550.144.03.xml": "NV_GPU_DRIVER_GH100_550.144.03",
    "vbios_1010_0200_882_96005E0001.xml": "NV_GPU_VBIOS_1010_0200_882_96005E0001",
    "switch_9610550001.xml": "NV_SWITCH_BIOS_5612_0002_890_9610550001",
}


def given(case):
    """What was recorded of the vendor's services beside a case."""
    if "collateral" in case.data:
        return list(parts_of_collateral(parse_collateral(case.read(case.data["collateral"]))))
    files = case.data["files"]
    chain = parse_certificates(case.read(files.get("vcek") or files["vlek"]))[:1] + parse_certificates(
        case.read(case.data["chain"])
    )
    first, second, root = (one.public_bytes(Encoding.DER) for one in chain)
    lists = [parse_list(case.read(case.data["crl"])).public_bytes(Encoding.DER)] if "crl" in case.data else []
    return [AmdKey(chain=(first, second, root)), *(AmdRevocations(data=data, issuer=root) for data in lists)]


@pytest.mark.parametrize(
    "case", [pytest.param(one, id=name) for name, one in ACCEPTED.items()] or [pytest.param(None, marks=ABSENT)]
)
async def test_recorded_endorsements_are_kept_and_complete_their_evidence(case, tmp_path):
    store = EndorsementStore(tmp_path, VENDORS)
    for kept in given(case):
        assert store.take(kept, at=case.at).failed == []
    files = case.data["files"]
    evidence = read_bare_evidence(case.read(files.get("report") or files["quote"]))
    found = await complete(evidence, store, None, at=case.at, asker="tests")
    lacking = ["AMD's revocation list"] if "no-crl" in case.relax else []
    assert [one.words.partition(" for ")[0] for one in found.missing] == lacking


@pytest.mark.parametrize("name", MANIFESTS)
def test_recorded_manifests_are_nvidias(name):
    path = folder() / "nvidia" / "rims" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    kept = NvidiaManifest(id=MANIFESTS[name], data=path.read_bytes())
    own = describe(kept)
    assert examine_endorsement(kept, roots=VENDORS, at=own.until, subject=kept.id, seen=()).failed == []
    assert examine_endorsement(kept, roots=VENDORS, at=own.until + 1, subject=kept.id, seen=()).failed == [
        "endorsement.date"
    ]
