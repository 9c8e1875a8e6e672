"""`python -m cloister.testing.made_vendors FOLDER`: made-up hardware to try things with, and its vendors' services.

Writes into FOLDER evidence of made-up machines (`snp.bin`, `tdx.bin`, `gpu.json`), an appraisal policy whose roots are
the made-up vendors' (`policy.toml`), and, last, the options that name their services (`urls`); then serves them on this
machine until it is ended. Nothing of it is vouched for by anyone.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from pathlib import Path

import msgspec

from cloister.formats.appraisal_policy import AppraisalPolicy
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.vendor_services import VendorServices

_NONCE = bytes(range(32))


def write_evidence(vendors: MadeVendors, folder: Path) -> None:
    """Evidence of a machine of each vendor, and a policy that takes their roots, and no evidence."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snp.bin").write_bytes(vendors.snp.sign(vendors.snp.report()))
    (folder / "tdx.bin").write_bytes(vendors.tdx.quote())
    device = {"arch": "HOPPER", "nonce": _NONCE.hex()}
    device["evidence"] = base64.b64encode(vendors.gpu.report(_NONCE)).decode()
    device["certificate"] = base64.b64encode(vendors.gpu.chain()).decode()
    (folder / "gpu.json").write_bytes(msgspec.json.encode([device]))
    policy = AppraisalPolicy(unsafe=("UnsafeAllowOtherRoots",), roots=vendors.roots, platforms=())
    (folder / "policy.toml").write_text(format_appraisal_policy(policy, comment=no_comment), encoding="utf-8")


def options(services: VendorServices) -> str:
    """The options of `cloister endorsements fetch` that name these services."""
    urls = services.urls
    named = {
        "--amd-kds": urls.amd_kds_url,
        "--intel-pcs": urls.intel_pcs_url,
        "--intel-root-list": urls.intel_root_list_url,
        "--nvidia-rims": urls.nvidia_rim_url,
        "--nvidia-ocsp": urls.nvidia_ocsp_url,
    }
    return " ".join(f"{name} {url}" for name, url in named.items())


async def serve(folder: Path) -> None:
    """Write, and serve for as long as the process runs."""
    vendors = MadeVendors(int(time.time()))  # noqa: TID251 - what is made up is in date when it is tried
    write_evidence(vendors, folder)
    async with VendorServices(vendors) as services:
        (folder / "urls").write_text(options(services) + "\n", encoding="utf-8")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
