"""The verifier over a real socket: challenge, evidence, token; and everything that it refuses, by name."""

import contextlib
import io
import json
import shutil
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.doubles.served import served

from cloister.attest.request import sign_attestation_request
from cloister.attest.result import ExpectedResult, examine_attestation_result
from cloister.crypto.signing import SigningKey
from cloister.endorsements.endorsing import AsCarried, Endorsing, Gathered
from cloister.errors import Unavailable, UsageError
from cloister.examination import RefusedSteps
from cloister.formats import canonical
from cloister.formats.attestation_result import MEDIA_TYPE, PROFILE
from cloister.hosting.problem import parse as parse_problem
from cloister.peers.exchange import PeerRefused
from cloister.peers.verifier import VerifierClient
from cloister.services.verifier.routes import network_of, routes
from cloister.services.verifier.service import read_policies
from cloister.services.verifier.settings import VerifierLimits
from cloister.services.verifier.signing_keys import SigningKeys
from cloister.services.verifier.verifier import Verifier
from cloister.testing.made_tokens import verifier_policy
from cloister.testing.world import NOON, Node, appraisal, evidence

replace = msgspec.structs.replace
ISSUER, AUDIENCE, NONCE, SUBJECT = "http://verifier.test", "https://rp.test", bytes(range(16)), b"s" * 32
SOFTWARE = ("UnsafeAllowSoftwareTee",)


@dataclass
class Setting:
    """A node, and a verifier's policy that takes it."""

    platform: SigningKey = field(default_factory=SigningKey.generate)
    node: Node = field(default_factory=Node)
    limits: VerifierLimits = field(default_factory=VerifierLimits)
    endorsing: Endorsing = field(default_factory=AsCarried)
    url: str = ""  # once it is served
    now: int = NOON

    @property
    def policies(self):
        taken = verifier_policy(appraisal(self.platform), "gateway")
        other = verifier_policy(appraisal(SigningKey.generate()), "kms")
        return {"default": taken, "other": other}

    @contextlib.asynccontextmanager
    async def client(self, folder):
        keys = SigningKeys.open(folder, key_seconds=86_400, at=NOON)
        verifier = Verifier(ISSUER, self.policies, keys, self.endorsing, limits=self.limits, clock=lambda: self.now)
        async with served(routes(verifier)) as url, VerifierClient(url) as client:
            self.url = url
            yield client

    def evidence(self, challenge):
        return evidence(self.platform, "gateway", self.node, challenge=challenge, subject=SUBJECT)

    def request(self, challenge, *, policy="default", shown=None, **asked):
        given = {"audience": AUDIENCE, "nonce": NONCE} | asked
        return sign_attestation_request(self.node.sign, shown or self.evidence(challenge), policy=policy, **given)

    def expected(self, **changes):
        values = {"issuer": ISSUER, "audience": AUDIENCE, "nonce": NONCE, "presenter": self.node.sign.public}
        values |= {"subject": SUBJECT, "policies": (self.policies["default"].id,), "unsafe": SOFTWARE}
        return ExpectedResult(**(values | changes))


async def test_a_node_gets_a_token_that_its_relying_party_takes(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        token = await client.attest(setting.request(await client.challenge()))
        examination = examine_attestation_result(token, await client.keys(), setting.expected(), at=NOON + 1)
    assert examination.failed == []
    claims = examination.require().claims
    assert (claims.exp - claims.iat, claims.ear_status) == (300, "contraindicated")
    assert claims.cloister.flags == SOFTWARE
    assert claims.cloister.keys == setting.node.keys.thumbprint().hex()
    assert list(claims.submods) == ["cpu"]


async def test_a_relying_party_with_another_library_takes_it_by_discovery_alone(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client, aiohttp.ClientSession() as session:
        async with session.get(f"{setting.url}/.well-known/openid-configuration") as response:
            found = await response.json()
        assert (found["issuer"], found["eat_profiles_supported"]) == (ISSUER, [PROFILE])
        assert found["appraisal_policies"]["default"] == setting.policies["default"].id
        async with session.get(found["jwks_uri"].replace(ISSUER, setting.url)) as response:
            assert response.content_type == "application/jwk-set+json"
            keys = KeySet.import_key_set(json.loads(await response.read()))
        token = await client.attest(setting.request(await client.challenge()))
    claims = jwt.decode(token.decode(), keys, algorithms=found["id_token_signing_alg_values_supported"]).claims
    assert (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)


async def test_a_challenge_is_answered_once(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        request = setting.request(await client.challenge())
        await client.attest(request)
        with pytest.raises(RefusedSteps, match=r"attestation\.challenge"):
            await client.attest(request)


async def test_a_challenge_of_ones_own_is_refused(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        with pytest.raises(RefusedSteps, match=r"attestation\.challenge"):
            await client.attest(setting.request(bytes(32)))


async def test_of_more_challenges_than_may_be_open_the_oldest_is_gone(tmp_path):
    setting = Setting(limits=VerifierLimits(challenges=1))
    async with setting.client(tmp_path) as client:
        first, second = await client.challenge(), await client.challenge()
        with pytest.raises(RefusedSteps, match=r"attestation\.challenge"):
            await client.attest(setting.request(first))
        await client.attest(setting.request(second))


async def test_whoever_copied_evidence_gets_no_token(tmp_path):
    setting, thief = Setting(), Node()
    async with setting.client(tmp_path) as client:
        shown = setting.evidence(await client.challenge())
        stolen = sign_attestation_request(thief.sign, shown, policy="default", audience=AUDIENCE, nonce=NONCE)
        with pytest.raises(RefusedSteps, match=r"attestation\.possession"):
            await client.attest(stolen)


async def test_every_failed_check_of_the_evidence_is_told(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        shown = setting.evidence(await client.challenge())
        other = replace(shown, binding=replace(shown.binding, subject=bytes(32)), keys=setting.node.keys)
        with pytest.raises(RefusedSteps) as refusal:
            await client.attest(setting.request(b"", policy="other", shown=other))
        assert [step.id for step in refusal.value.failed] == ["evidence.signature"]
        shown = setting.evidence(await client.challenge())
        changed = replace(shown, settings=replace(shown.settings, unsafe=()))
        with pytest.raises(RefusedSteps) as refusal:
            await client.attest(setting.request(b"", shown=changed))
        assert [step.id for step in refusal.value.failed] == ["evidence.settings-digest", "evidence.unsafe"]


async def test_any_changed_byte_of_the_report_is_refused_by_name(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        for at in (20, 150, -1):
            shown = setting.evidence(await client.challenge())
            report = bytearray(shown.report)
            report[at] ^= 1
            with pytest.raises(RefusedSteps, match=r"evidence\.signature"):
                await client.attest(setting.request(b"", shown=replace(shown, report=bytes(report))))


async def test_a_role_that_the_policy_does_not_take_is_refused_by_name(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        shown = evidence(setting.platform, "kms", setting.node, challenge=await client.challenge(), subject=SUBJECT)
        with pytest.raises(RefusedSteps, match=r"evidence\.role"):
            await client.attest(setting.request(b"", shown=shown))


async def test_a_policy_that_is_not_there_is_named_with_those_that_are(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        with pytest.raises(PeerRefused, match="default, other") as refusal:
            await client.attest(setting.request(await client.challenge(), policy="mine"))
        assert refusal.value.answer == 404


class Lacking:
    """What some vendor does not say; whether it may say it later."""

    def __init__(self, *, retry):
        self.retry = retry
        self.asked = 0

    async def gather(self, evidence, roots, *, at, asker):
        self.asked += 1
        return Gathered(evidence.endorsements, ("AMD's certificate: AMD does not answer",), self.retry)


async def test_evidence_that_lacks_what_may_come_later_is_not_refused_for_good(tmp_path):
    setting = Setting(endorsing=Lacking(retry=True))
    async with setting.client(tmp_path) as client:
        await client.attest(setting.request(await client.challenge()))  # it was not needed
        with pytest.raises(Unavailable, match="AMD does not answer"):
            await client.attest(setting.request(await client.challenge(), policy="other"))


async def test_no_vendor_is_asked_for_a_platform_that_is_refused_anyway(tmp_path):
    lacking = Lacking(retry=True)
    setting = Setting(endorsing=lacking)
    async with setting.client(tmp_path) as client:
        shown = replace(setting.evidence(await client.challenge()), platform="snp")
        with pytest.raises(RefusedSteps, match=r"evidence\.platform"):
            await client.attest(setting.request(b"", shown=shown))
    assert lacking.asked == 0


async def test_a_refusal_names_what_could_not_be_had(tmp_path):
    setting = Setting(endorsing=Lacking(retry=False))
    async with setting.client(tmp_path) as client:
        with pytest.raises(RefusedSteps, match=r"evidence\.signature.*missing here: AMD's certificate"):
            await client.attest(setting.request(await client.challenge(), policy="other"))


async def post(url, content, kind="application/cbor"):
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/attestation", data=content, headers={"content-type": kind}) as response,
    ):
        return response.status, response.headers, parse_problem(await response.read())


async def test_a_problem_names_every_failed_check_to_whoever_speaks_http(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client:
        request = setting.request(await client.challenge())
        altered = replace(request, demand=request.demand[:-1] + bytes([request.demand[-1] ^ 1]))
        await client.challenge()
        status, headers, problem = await post(setting.url, canonical.encode(altered))
    assert (status, headers["content-type"]) == (403, "application/problem+json")
    assert [one.check for one in problem.failed] == [problem.check] == ["attestation.possession"]


async def test_bytes_that_are_no_request_are_told_so(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path):
        assert (await post(setting.url, b"no request"))[0] == 400
        assert (await post(setting.url, io.BytesIO(bytes(9 * 1024 * 1024))))[0] == 413
        assert (await post(setting.url, b"", kind="text/plain"))[0] == 415


async def test_what_is_answered_says_what_it_is(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client, aiohttp.ClientSession() as session:
        body = canonical.encode(setting.request(await client.challenge()))
        kind = {"content-type": "application/cbor"}
        async with session.post(f"{setting.url}/v1/attestation", data=body, headers=kind) as response:
            assert response.status == 200
            assert response.headers["content-type"] == MEDIA_TYPE
            assert response.headers["cache-control"] == "no-store"
        for path in ("/health", "/ready", "/metrics", "/version"):
            async with session.get(setting.url + path) as response:
                assert response.status == 200


def test_policies_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "bad.toml").write_text("version = 1")
    with pytest.raises(UsageError, match=r"mine cannot be read from .*none\.toml"):
        read_policies({"mine": tmp_path / "none.toml"})
    with pytest.raises(UsageError, match=r"mine in .*bad\.toml.*missing: unsafe"):
        read_policies({"mine": tmp_path / "bad.toml"})


async def test_tokens_and_refusals_are_counted_by_policy_and_check(tmp_path):
    setting = Setting()
    async with setting.client(tmp_path) as client, aiohttp.ClientSession() as session:
        request = setting.request(await client.challenge())
        await client.attest(request)
        for _ in range(2):
            with pytest.raises(RefusedSteps):
                await client.attest(request)
        async with session.get(f"{setting.url}/metrics") as response:
            told = await response.text()
    assert 'cloister_verifier_tokens_total{policy="default"} 1.0' in told
    assert 'cloister_verifier_refused_total{check="attestation.challenge"} 2.0' in told


async def test_a_folder_that_takes_no_new_key_stops_no_token(tmp_path):
    setting = Setting()
    folder = tmp_path / "keys"
    async with setting.client(folder) as client:
        known = await client.keys()
        shutil.rmtree(folder)
        setting.now = NOON + 86_400  # the next key is due
        token = await client.attest(setting.request(await client.challenge()))
        assert await client.keys() == known
    assert examine_attestation_result(token, known, setting.expected(), at=setting.now).failed == []


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_who_has_a_network_of_addresses_has_one_share_of_questions(address, network):
    assert network_of(address) == network
