"""A KMS completes evidence from vendors' services and its store: made-up vendors, real sockets, every role running."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import pytest
from tests.doubles.trivial_engine import EchoEngine
from tests.doubles.whole_system import eventually

from cloister.attest.roots import roots_of
from cloister.endorsements.endorsing import EndorsementSettings, StoredEndorsements, endorsing_of
from cloister.endorsements.fetchers import Fetchers
from cloister.endorsements.store import EndorsementStore
from cloister.errors import Unavailable
from cloister.formats.endorsement_bundle import kind_of
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.testing.local_system import LocalSystem
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.made_tees import MadeGpus, MadeTdxTee
from cloister.testing.vendor_services import VendorServices

NOW = int(time.time())
VENDORS = MadeVendors(NOW)


@dataclass(frozen=True)
class VendorsGpus(MadeGpus):
    """The GPU that the services speak of."""

    @property
    def vendor(self):
        return VENDORS.nvidia

    @property
    def all(self):
        return (VENDORS.gpu,)


@dataclass(frozen=True)
class VendorsTee(MadeTdxTee):
    """A trust domain on the platform that the services speak of."""

    @property
    def hardware(self):
        return VENDORS.tdx


def kms_on(workload):
    return VendorsTee(NOW, workload)


def gateway_on(workload):
    return VendorsTee(NOW, workload, VendorsGpus(NOW))


def system_with(folder, endorsing):
    return LocalSystem(folder, kms_on=kms_on, gateway_on=gateway_on, endorsing=endorsing)


async def test_what_evidence_needs_is_fetched_once_and_then_found_in_the_store(tmp_path):
    settings = EndorsementSettings(tmp_path / "store")
    async with VendorServices(VENDORS) as services, Fetchers.of_vendors(services.urls) as fetchers:
        first = system_with(tmp_path, StoredEndorsements(settings.folder, fetchers))
        async with first.running(EchoEngine()):
            asked = list(services.asked)
    assert any("/tcb?" in one for one in asked)
    assert any("/v1/rim/" in one for one in asked)
    (tmp_path / "again").mkdir()
    async with endorsing_of(EndorsementSettings(settings.folder, fetch=False)) as offline:
        second = system_with(tmp_path / "again", offline)
        async with second.running(EchoEngine()):
            assert second.ports["gateway"]


async def test_a_kms_waits_for_what_vendors_say_and_serves_once_it_is_there(tmp_path):
    """What lacks is not a refusal of this KMS: an import, or a vendor that answers again, and it goes on."""
    async with endorsing_of(EndorsementSettings(tmp_path / "store", fetch=False)) as offline:
        system = system_with(tmp_path, offline)
        store = EndorsementStore(tmp_path / "store", roots_of(system.constitution.appraisal))
        async with contextlib.AsyncExitStack() as stack:
            await system.run_ledger(stack)
            await system.run_kms(stack)
            client = await stack.enter_async_context(KmsClient(system.url("kms")))
            await eventually(lambda: says(client, "4 endorsements lack"))
            for kept in (one for one in VENDORS.all() if kind_of(one).startswith("intel-")):
                store.take(kept, at=NOW).require()
            await eventually(lambda: serves(client))


async def says(kms, words):
    try:
        await kms.challenge()
    except Unavailable as error:
        return words in str(error)
    return False


async def serves(kms):
    with contextlib.suppress(Unavailable):
        return bool(await kms.challenge())
    return False


async def test_a_gpu_whose_certificate_was_revoked_gets_no_key(tmp_path):
    async with VendorServices(VENDORS) as services, Fetchers.of_vendors(services.urls) as fetchers:
        system = system_with(tmp_path, StoredEndorsements(tmp_path / "store", fetchers))
        services.revoked = True
        async with system.kms_alone(), KmsClient(system.url("kms")) as client:
            keys = KmsKeys(client, system.gateway_node(), clock=WitnessedClock(time.time))
            with pytest.raises(KeyWithheld, match=r"gpu\.revocation"):
                await keys.fetch_ahead()
