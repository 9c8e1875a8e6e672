"""The verifier as a process of its own, from a node's challenge to what a relying party's command line says."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner
from tests.doubles.command_line import cloister_command

from cloister.attest.request import sign_attestation_request
from cloister.cli.main import cli
from cloister.crypto.signing import SigningKey
from cloister.examination import RefusedSteps
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment
from cloister.formats.evidence import SecuritySettings
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.node.evidence import evidence as node_evidence
from cloister.node.keys import NodeSecrets
from cloister.peers.verifier import VerifierClient
from cloister.testing.made_tees import MadeGpus, MadeSnpTee, policy_of
from cloister.testing.made_tokens import verifier_policy
from cloister.testing.world import Node, appraisal, evidence

replace = msgspec.structs.replace
AUDIENCE, NONCE, SUBJECT = "https://rp.test", bytes(range(32)), b"s" * 32
ISSUER = "https://verifier.test"


class Process:
    """`cloister service verifier` on a port of its own, and a node that its one policy takes."""

    def __init__(self, folder, policy=None):
        self.folder = folder
        self.platform, self.node = SigningKey.generate(), Node()
        self.policy = policy or verifier_policy(appraisal(self.platform), "gateway")
        (folder / "gateways.toml").write_text(format_appraisal_policy(self.policy, comment=no_comment))
        (folder / "verifier.toml").write_text(
            f'port = 0\nissuer = "{ISSUER}"\nfolder = "{folder}/state"\nready = "{folder}/port"\n'
            f'[policies]\ngateways = "{folder}/gateways.toml"\n'
        )

    async def __aenter__(self):
        await self.start()
        return self

    async def start(self):
        command = [sys.executable, "-m", "cloister", "service", "verifier", "--config", self.folder / "verifier.toml"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                command, stderr=log, env={"PYTHONPATH": "src", "PATH": os.environ["PATH"]}
            )
        async with asyncio.timeout(30):
            while not (self.folder / "port").exists():
                assert self.process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.02)
        self.url = f"http://127.0.0.1:{(self.folder / 'port').read_text()}"

    async def __aexit__(self, *_raised):
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 20) == 0

    def ask(self, challenge, **changes):
        shown = evidence(self.platform, "gateway", self.node, challenge=challenge, subject=SUBJECT)
        changed = replace(shown, **changes)
        return sign_attestation_request(self.node.sign, changed, policy="gateways", audience=AUDIENCE, nonce=NONCE)

    async def keep_keys(self):
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/.well-known/jwks.json") as response:
            (self.folder / "keys.json").write_bytes(await response.read())

    def verify(self, **changes):
        """The command line of a relying party that holds everything; `changes` put other values."""
        given = {"jwks": "keys.json", "issuer": ISSUER, "audience": AUDIENCE, "nonce": NONCE.hex()}
        given |= {"policy": "gateways.toml", "subject": SUBJECT.hex(), "key": self.node.sign.public.hex()}
        given |= {"accept": "UnsafeAllowSoftwareTee"} | changes
        options = [text for name, value in given.items() if value for text in (f"--{name}", value)]
        return ["token", "verify", "node.jwt", *options]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("verifier")


@pytest.fixture(scope="module")
def attested(folder):
    """A token by the process, and its log after the end."""

    async def life():
        async with Process(folder) as process, VerifierClient(process.url) as client:
            request = process.ask(await client.challenge())
            (folder / "node.jwt").write_bytes(await client.attest(request) + b"\n")
            await process.keep_keys()
            refused = {}
            for name, other in {
                "replayed": request,
                "changed": process.ask(await client.challenge(), platform="snp"),
                "unknown": process.ask(bytes(32)),
            }.items():
                try:
                    await client.attest(other)
                except RefusedSteps as refusal:
                    refused[name] = [step.id for step in refusal.failed]
            return process, refused

    return asyncio.run(life())


async def test_the_token_of_a_software_tee_is_taken_by_name_and_says_so(attested, folder):
    process, _ = attested
    ran = await cloister_command(*process.verify(), home=folder)
    assert ran.code == 0, ran.out + ran.err
    assert "16 ✓ token.status" in ran.out
    assert f"key         {process.node.sign.public.hex()}" in ran.out
    assert "software TEE: protects nothing from this machine's owner" in ran.out


def test_what_the_service_refuses_it_refuses_by_name(attested):
    _, refused = attested
    assert refused == {
        "replayed": ["attestation.challenge"],
        "changed": ["evidence.platform"],
        "unknown": ["attestation.challenge"],
    }


def test_its_log_has_no_content(attested, folder):
    log = (folder / "log").read_text()
    events = [json.loads(line) for line in log.splitlines()]
    told = [(event["event"], event.get("checks")) for event in events if event["event"] in ("attested", "refused")]
    challenge, platform = "attestation.challenge", "evidence.platform"
    assert told == [("attested", None), ("refused", challenge), ("refused", platform), ("refused", challenge)]
    for word in (AUDIENCE, NONCE.hex(), attested[0].node.sign.public.hex()):
        assert word not in log


LATER = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
OTHER_POLICY = f"ni:///sha-256;{'A' * 43}"


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"issuer": "https://elsewhere.test"}, "token.issuer"),
        ({"audience": "https://elsewhere.test"}, "token.audience"),
        ({"nonce": "00" * 32}, "token.nonce"),
        ({"at": LATER}, "token.time"),
        ({"key": "00" * 32}, "token.confirmation"),
        ({"subject": "00" * 32}, "token.subject"),
        ({"policy": OTHER_POLICY}, "token.policy"),
        ({"accept": None}, "token.unsafe"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_relying_party_did_not_expect_is_refused_by_name(attested, folder, monkeypatch, changes, check):
    monkeypatch.chdir(folder)
    ran = CliRunner().invoke(cli, [*attested[0].verify(**changes), "--json"])
    steps = json.loads(ran.stdout)["steps"]
    assert next(step["id"] for step in steps if step["outcome"] == "failed") == check
    assert getattr(ran.exception, "check", None) == check


def test_a_token_with_one_bit_changed_is_refused_by_its_signature(attested, folder, monkeypatch):
    monkeypatch.chdir(folder)
    token = bytearray((folder / "node.jwt").read_bytes())
    token[len(token) // 2] ^= 1
    (folder / "altered.jwt").write_bytes(token)
    command = attested[0].verify()
    command[2] = "altered.jwt"
    assert getattr(CliRunner().invoke(cli, command).exception, "check", None) == "token.signature"


@pytest.mark.parametrize(
    ("changes", "more", "says"),
    [
        ({"policy": None}, (), "say --policy, or take any with --any policy"),
        ({}, ("--any", "key"), "--key and --any key contradict"),
        ({"jwks": "none.json"}, (), "none.json cannot be read"),
        ({"jwks": "gateways.toml"}, (), "not JSON"),
        ({"policy": "keys.json"}, (), "not a verifier's policy"),
    ],
    ids=["left out", "contradiction", "no key set", "not a key set", "not a policy"],
)
def test_a_command_that_cannot_be_meant_is_told_so(attested, folder, monkeypatch, changes, more, says):
    monkeypatch.chdir(folder)
    ran = CliRunner().invoke(cli, [*attested[0].verify(**changes), *more])
    assert says in str(ran.exception)


def test_a_relying_party_may_take_any_key_and_contract_by_saying_so(attested, folder, monkeypatch):
    monkeypatch.chdir(folder)
    anything = ("--any", "key", "--any", "subject", "--any", "policy", "--json")
    ran = CliRunner().invoke(cli, [*attested[0].verify(key=None, subject=None, policy=None), *anything])
    assert ran.exception is None
    report = json.loads(ran.stdout)
    assert (report["passed"], report["claims"]["aud"]) == (True, AUDIENCE)
    assert report["software_tee"]


async def test_a_made_up_snp_node_with_a_gpu_has_a_submodule_for_each(tmp_path):
    now, workload, secrets = int(time.time()), b"w" * 48, NodeSecrets.generate()
    tee = MadeSnpTee(now, workload, MadeGpus(now))
    taken = policy_of([tee], [workload])
    settings = SecuritySettings(role="gateway", unsafe=taken.unsafe, values={})
    own = RoleReference(role="gateway", workloads=(workload,), settings=(settings.digest(),))
    policy = VerifierPolicy(**msgspec.structs.asdict(taken), roles=(own,))
    async with Process(tmp_path, policy) as process, VerifierClient(process.url) as client:
        challenge = await client.challenge()
        shown = node_evidence(tee, challenge=challenge, settings=settings, subject=SUBJECT, keys=secrets.public)
        shown = replace(shown, endorsements=(*shown.endorsements, *tee.fetched()))
        request = sign_attestation_request(secrets.sign, shown, policy="gateways", audience=AUDIENCE, nonce=NONCE)
        (tmp_path / "node.jwt").write_bytes(await client.attest(request))
        await process.keep_keys()
    command = process.verify(key=secrets.sign.public.hex(), accept="UnsafeAllowOtherRoots")
    ran = await cloister_command(*command, home=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    parts = dict(line.split("  ", 1) for line in ran.out.splitlines() if line.startswith(("cpu", "gpu0")))
    assert set(parts) == {"cpu", "gpu0"}
    assert all("hardware 97 contraindicated, runtime-opaque 2 affirming" in said for said in parts.values())


async def test_a_verifier_that_was_killed_has_the_same_keys_again_and_forgets_its_challenges(tmp_path):
    process = Process(tmp_path)
    async with process, VerifierClient(process.url) as client:
        open_one = await client.challenge()
        (tmp_path / "node.jwt").write_bytes(await client.attest(process.ask(await client.challenge())))
        process.process.kill()
        process.process.wait()
        (tmp_path / "port").unlink()
        await process.start()
        async with VerifierClient(process.url) as again:
            with pytest.raises(RefusedSteps, match=r"attestation\.challenge"):
                await again.attest(process.ask(open_one))
        await process.keep_keys()
    ran = await cloister_command(*process.verify(), home=tmp_path)
    assert ran.code == 0, ran.out + ran.err
