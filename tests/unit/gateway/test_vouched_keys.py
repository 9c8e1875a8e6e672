"""A gateway whose contract takes a verifier's word: a real verifier judges it, the KMS believes, clients are shown."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from tests.doubles.kms_system import KmsSystem, WorldTee, served

from cloister.endorsements.endorsing import AsCarried
from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, VerifierPlatform
from cloister.formats.contract_verifier import EarVerifier
from cloister.node.keys import NodeSecrets
from cloister.node.vouched_evidence import Voucher
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.services.gateway.contract import open_contract, trust_policy
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys
from cloister.services.gateway.security import GatewaySecurity
from cloister.services.verifier.settings import VerifierLimits
from cloister.services.verifier.signing_keys import SigningKeys
from cloister.services.verifier.verifier import Verifier
from cloister.testing import world
from cloister.testing.made_tokens import verifier_policy
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact

ISSUER, AUDIENCE = "https://verifier.test", "https://kms.test"


class Asked:
    """A verifier in this process, as nodes call it."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    async def challenge(self):
        return self.verifier.challenge()

    async def attest(self, request):
        return await self.verifier.attest(canonical.encode(request), asker="node")


class Vouched:
    """A system whose contract takes one verifier's word, and no raw evidence."""

    def __init__(self, folder):
        self.system = KmsSystem()
        policy = verifier_policy(world.appraisal(self.system.parties.platform), "gateway")
        keys = SigningKeys.open(folder / "keys", key_seconds=86_400, at=world.NOON)
        self.verifier = Verifier(
            ISSUER,
            {"gateways": policy},
            keys,
            AsCarried(),
            limits=VerifierLimits(),
            clock=lambda: self.system.now,
        )
        named = EarVerifier(
            name="the partner",
            issuer=ISSUER,
            audience=AUDIENCE,
            keys=(keys.signer(at=world.NOON).public,),
            policies=(policy.id,),
            maximum_age_seconds=60,
            expressions=("cloister.platform == 'software'",),
        )
        self.contract(named)

    def contract(self, named):
        appraisal = AppraisalPolicy(
            unsafe=("UnsafeAllowSoftwareTee",), roots="vendors", platforms=(VerifierPlatform(verifiers=(named,)),)
        )
        system = self.system
        system.contract = msgspec.structs.replace(system.contract, appraisal=appraisal)
        system.contract_entry = system.sign_contract(system.contract)

    @contextlib.asynccontextmanager
    async def keys(self, *, tee=None, vouched=True, audience=AUDIENCE):
        system = self.system
        contract = open_contract([system.contract_entry])
        node = GatewayNode(
            tee or system.tee,
            NodeSecrets.generate(),
            world.security_settings("gateway"),
            contract,
            trust_policy(contract, GatewaySecurity()),
            Voucher("the partner", "gateways", audience, Asked(self.verifier)) if vouched else None,
        )
        kms = await system.started()
        async with served(kms) as url, KmsClient(url) as client:
            yield kms, KmsKeys(client, node, clock=WitnessedClock(lambda: system.now))


@pytest.fixture
def vouched(tmp_path):
    return Vouched(tmp_path)


async def test_a_gateway_gets_its_key_on_a_verifiers_word(vouched):
    async with vouched.keys() as (kms, keys):
        await keys.fetch_ahead()
        assert keys.missing() == []
        line = kms._standing.state.lines[vouched.system.line]
        assert "token.node" in next(iter(line.releases)).release.checks


async def test_a_client_is_refused_until_it_accepts_the_verifier_by_name(vouched):
    async with vouched.keys() as (kms, _):
        bundle, memory = vouched.system.bundle(kms), first_contact(vouched.system.constitution.digest())
        refused = examine_bundle(bundle, vouched.system.policy(), memory, at=vouched.system.now)
        assert refused.failed == ["trust.verifiers"]
        policy = vouched.system.policy(verifiers=("the partner",))
        assert examine_bundle(bundle, policy, memory, at=vouched.system.now).failed == []


async def test_raw_evidence_is_refused_where_the_contract_takes_a_verifiers_word_alone(vouched):
    async with vouched.keys(vouched=False) as (_, keys):
        with pytest.raises(KeyWithheld, match=r"evidence\.platform"):
            await keys.fetch_ahead()


async def test_a_gateway_for_which_the_verifier_does_not_vouch_gets_no_key(vouched):
    other = WorldTee(vouched.system.parties.platform, workload=bytes(48))
    async with vouched.keys(tee=other) as (_, keys):
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()


async def test_a_token_for_another_relying_party_gets_no_key(vouched):
    async with vouched.keys(audience="https://elsewhere.test") as (_, keys):
        with pytest.raises(KeyWithheld, match=r"token\.audience"):
            await keys.fetch_ahead()


async def test_a_verifier_that_lies_about_the_code_gets_nobody_a_key(vouched):
    """Its policy takes other code; the contract names the code, whatever its verifier says."""
    anything = msgspec.structs.replace(world.reference("gateway"), workloads=(bytes(48),))
    lying = msgspec.structs.replace(vouched.verifier.policies["gateways"], roles=(anything,))
    vouched.verifier.policies = {"gateways": lying}
    (named,) = vouched.system.contract.appraisal.platforms[0].verifiers
    vouched.contract(msgspec.structs.replace(named, policies=(lying.id,)))
    other = WorldTee(vouched.system.parties.platform, workload=bytes(48))
    async with vouched.keys(tee=other) as (_, keys):
        with pytest.raises(KeyWithheld, match=r"evidence\.workload"):
            await keys.fetch_ahead()
