"""Whatever a vendor's service answers, a fetcher takes it for something to examine, or refuses it by name."""

import asyncio
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.vendor_evidence import NOON, VENDORS

from cloister.attest.endorsements import examine_endorsement
from cloister.endorsements.amd_kds import AmdKds
from cloister.endorsements.bare_evidence import read_bare_evidence
from cloister.endorsements.fetchers import Fetcher
from cloister.endorsements.intel_pcs import IntelPcs
from cloister.endorsements.nvidia_services import NvidiaRims, OcspResponder
from cloister.endorsements.vendor_site import VendorAnswer, VendorRefused, VendorSite
from cloister.endorsements.wanted import (
    Wanted,
    WantedAmdList,
    WantedAnswer,
    WantedKey,
    WantedManifest,
    WantedPckList,
    WantedQeIdentity,
    WantedRootList,
    WantedTcbInfo,
)
from cloister.errors import MalformedInput
from cloister.formats.snp_tcb import Product
from cloister.testing.made_endorsements import der

CHAIN = quote(VENDORS.tcb_info().issuer_chain)
HEADERS = ("tcb-info-issuer-chain", "sgx-enclave-identity-issuer-chain", "sgx-pck-crl-issuer-chain")
INFO = VENDORS.tcb_info()
GOOD = [
    VENDORS.amd_revocations().data,
    VENDORS.amd_key().chain[0],
    f'{{"tcbInfo":{INFO.body},"signature":"{INFO.signature}"}}'.encode(),
    VENDORS.answers()[0].data,
]
WANTED: dict[str, Wanted] = {
    "amd-key": WantedKey(Product.MILAN, VENDORS.snp.chip_id, VENDORS.snp.tcb),
    "amd-revocations": WantedAmdList(Product.MILAN),
    "intel-tcb-info": WantedTcbInfo("TDX", VENDORS.tdx.fmspc),
    "intel-qe-identity": WantedQeIdentity("TDX"),
    "intel-pck-revocations": WantedPckList("platform"),
    "intel-root-revocations": WantedRootList(),
    "nvidia-manifest": WantedManifest("NV_GPU_DRIVER_GH100_550.90.07"),
    "ocsp-answer": WantedAnswer(tuple(map(der, VENDORS.gpu.rom.chain))),
}


class FixedSite(VendorSite):
    """Answers everything with the same."""

    def __init__(self, body, chain):
        super().__init__("the vendor", "https://vendor.test")
        self.answer = VendorAnswer(body, dict.fromkeys(HEADERS, chain))

    async def get(self, _path, *, limit):
        return self.answer

    async def ask(self, *_, **__):
        return self.answer


def mutated(data):
    """Bytes near some that are right."""
    return st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)).map(
        lambda change: data[: change[0]] + bytes([change[1]]) + data[change[0] + 1 :]
    )


@pytest.mark.parametrize("kind", WANTED)
@settings(max_examples=40, deadline=None)
@given(
    body=st.binary(max_size=60) | st.sampled_from(GOOD) | st.sampled_from(GOOD).flatmap(mutated),
    chain=st.text(max_size=20)
    | st.just(CHAIN)
    | st.just("%ff%fe")
    | mutated(CHAIN.encode()).map(lambda data: data.decode("latin-1")),
)
def test_any_answer_is_examined_or_refused(kind, body, chain):
    site, wanted = FixedSite(body, chain), WANTED[kind]
    fetchers: list[Fetcher] = [AmdKds(site), IntelPcs(site, site, "/root"), NvidiaRims(site), OcspResponder(site)]
    fetcher = next(one for one in fetchers if kind in one.kinds)
    try:
        kept = asyncio.run(fetcher.fetch(wanted))
    except VendorRefused:
        return
    examine_endorsement(kept, roots=VENDORS.roots, at=NOON, subject=wanted.subject, seen=())


@given(data=st.binary(max_size=1300) | st.sampled_from(GOOD).flatmap(mutated))
def test_any_file_is_evidence_or_malformed(data):
    try:
        assert read_bare_evidence(data).platform
    except MalformedInput:
        return
