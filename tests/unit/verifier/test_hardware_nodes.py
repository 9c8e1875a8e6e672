"""Nodes on made-up hardware ask a verifier: one submodule for the processor, one for each GPU."""

import contextlib
from dataclasses import replace as changed

import msgspec
import pytest
from tests.doubles.served import served

from cloister.attest.request import sign_attestation_request
from cloister.attest.result import ExpectedResult, examine_attestation_result
from cloister.endorsements.endorsing import AsCarried, EndorsementSettings, StoredEndorsements, endorsing_of
from cloister.examination import RefusedSteps
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.evidence import SecuritySettings
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.peers.verifier import VerifierClient
from cloister.services.verifier.routes import routes
from cloister.services.verifier.settings import VerifierLimits
from cloister.services.verifier.signing_keys import SigningKeys
from cloister.services.verifier.verifier import Verifier
from cloister.testing.made_tees import MadeAzureTee, MadeGpus, MadeNitroTee, MadeSnpTee, MadeTdxTee, policy_of
from cloister.testing.made_tokens import AUDIENCE, ISSUER, NONCE, SUBJECT
from cloister.testing.world import NOON, WORKLOAD

WITH_GPU = MadeSnpTee(NOON, WORKLOAD, MadeGpus(NOON))
TEES = {
    "snp with a GPU": WITH_GPU,
    "tdx": MadeTdxTee(NOON, WORKLOAD),
    "azure-snp": MadeAzureTee(NOON, WORKLOAD),
    "nitro": MadeNitroTee(NOON, WORKLOAD),
}


class Machine:
    """A node in one of these TEEs, and the policy that takes it."""

    def __init__(self, tee):
        self.tee = tee
        self.secrets = NodeSecrets.generate()
        appraisal = policy_of([tee], [WORKLOAD])
        self.settings = SecuritySettings(role="gateway", unsafe=appraisal.unsafe, values={})
        reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(self.settings.digest(),))
        self.policy = VerifierPolicy(**msgspec.structs.asdict(appraisal), roles=(reference,))

    @contextlib.asynccontextmanager
    async def verifier(self, folder, endorsing):
        keys = SigningKeys.open(folder / "keys", key_seconds=86_400, at=NOON)
        verifier = Verifier(ISSUER, {"p": self.policy}, keys, endorsing, limits=VerifierLimits(), clock=lambda: NOON)
        async with served(routes(verifier)) as url, VerifierClient(url) as client:
            yield client

    def request(self, challenge, *, endorsements=None):
        tee, keys = self.tee, self.secrets.public
        shown = evidence(tee, challenge=challenge, settings=self.settings, subject=SUBJECT, keys=keys)
        brought = (*shown.endorsements, *tee.fetched()) if endorsements is None else endorsements
        shown = msgspec.structs.replace(shown, endorsements=brought)
        return sign_attestation_request(self.secrets.sign, shown, policy="p", audience=AUDIENCE, nonce=NONCE)

    def expected(self, **changes):
        unsafe = self.policy.unsafe
        presenter = self.secrets.sign.public
        expected = ExpectedResult(ISSUER, AUDIENCE, NONCE, presenter, SUBJECT, (self.policy.id,), unsafe)
        return changed(expected, **changes)


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
async def test_a_node_on_each_platform_gets_a_token_that_names_who_vouches_for_it(tee, tmp_path):
    machine = Machine(tee)
    async with machine.verifier(tmp_path, AsCarried()) as client:
        token = await client.attest(machine.request(await client.challenge()))
        keys = await client.keys()
    claims = examine_attestation_result(token, keys, machine.expected(), at=NOON).require().claims
    assert claims.cloister.platform == tee.platform
    assert claims.cloister.workload == WORKLOAD.hex()
    assert list(claims.submods) == (["cpu", "gpu0"] if tee.gpus(bytes(32)) else ["cpu"])
    assert {part.ear_trustworthiness_vector.hardware for part in claims.submods.values()} == {97}
    refused = examine_attestation_result(token, keys, machine.expected(unsafe=()), at=NOON)
    assert refused.failed == ["token.unsafe", "token.status"]


async def test_what_a_node_brought_once_the_store_has_for_the_next(tmp_path):
    machine = Machine(WITH_GPU)
    async with machine.verifier(tmp_path, StoredEndorsements(tmp_path / "endorsements", None)) as client:
        await client.attest(machine.request(await client.challenge()))
        token = await client.attest(machine.request(await client.challenge(), endorsements=()))
        examination = examine_attestation_result(token, await client.keys(), machine.expected(), at=NOON)
    assert examination.failed == []


async def test_an_empty_store_says_what_is_missing_and_how_it_is_got(tmp_path):
    machine = Machine(TEES["tdx"])
    async with machine.verifier(tmp_path, StoredEndorsements(tmp_path / "endorsements", None)) as client:
        with pytest.raises(RefusedSteps, match=r"missing here: .*TCB info of TDX.*cloister endorsements fetch"):
            await client.attest(machine.request(await client.challenge(), endorsements=()))


async def test_a_report_with_one_bit_changed_asks_nobody_and_gets_no_token(tmp_path):
    machine = Machine(WITH_GPU)
    async with machine.verifier(tmp_path, StoredEndorsements(tmp_path / "endorsements", None)) as client:
        challenge = await client.challenge()
        shown = evidence(
            machine.tee, challenge=challenge, settings=machine.settings, subject=SUBJECT, keys=machine.secrets.public
        )
        report = bytearray(shown.report)
        report[0x90] ^= 1  # the launch measurement
        brought = (*shown.endorsements, *machine.tee.fetched())
        altered = msgspec.structs.replace(shown, report=bytes(report), endorsements=brought)
        request = sign_attestation_request(machine.secrets.sign, altered, policy="p", audience=AUDIENCE, nonce=NONCE)
        with pytest.raises(RefusedSteps) as refusal:
            await client.attest(request)
    assert "snp.signature" in [step.id for step in refusal.value.failed]


async def test_a_quote_whose_own_signature_does_not_hold_has_nobody_asked(tmp_path):
    machine = Machine(TEES["tdx"])
    async with machine.verifier(tmp_path, StoredEndorsements(tmp_path / "endorsements", None)) as client:
        challenge = await client.challenge()
        shown = evidence(
            machine.tee, challenge=challenge, settings=machine.settings, subject=SUBJECT, keys=machine.secrets.public
        )
        report = bytearray(shown.report)
        report[100] ^= 1
        altered = msgspec.structs.replace(shown, report=bytes(report), endorsements=machine.tee.fetched())
        request = sign_attestation_request(machine.secrets.sign, altered, policy="p", audience=AUDIENCE, nonce=NONCE)
        with pytest.raises(RefusedSteps) as refusal:
            await client.attest(request)
    assert "missing here" not in str(refusal.value)


async def test_an_enclaves_document_needs_no_store(tmp_path):
    machine = Machine(TEES["nitro"])
    async with machine.verifier(tmp_path, StoredEndorsements(tmp_path / "endorsements", None)) as client:
        await client.attest(machine.request(await client.challenge()))
    assert not (tmp_path / "endorsements").exists()


async def test_a_gpu_left_out_is_refused_by_name(tmp_path):
    machine = Machine(WITH_GPU)
    alone = Machine(changed(WITH_GPU, gpu_vendor=None))
    async with machine.verifier(tmp_path, AsCarried()) as client:
        challenge = await client.challenge()
        shown = evidence(
            alone.tee, challenge=challenge, settings=machine.settings, subject=SUBJECT, keys=machine.secrets.public
        )
        request = sign_attestation_request(machine.secrets.sign, shown, policy="p", audience=AUDIENCE, nonce=NONCE)
        with pytest.raises(RefusedSteps) as refusal:
            await client.attest(request)
    assert "gpu.count" in [step.id for step in refusal.value.failed]


async def test_the_settings_choose_where_endorsements_come_from(tmp_path):
    async with endorsing_of(None) as endorsing:
        assert isinstance(endorsing, AsCarried)
    for fetch in (False, True):
        async with endorsing_of(EndorsementSettings(folder=tmp_path / "endorsements", fetch=fetch)) as endorsing:
            assert isinstance(endorsing, StoredEndorsements)
