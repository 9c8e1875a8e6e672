"""`cloister secret`, `key` and `release` as parties run them, against a KMS and a ledger over HTTP."""

import asyncio
import contextlib
import hashlib
import json
import time

import pytest
from click.testing import CliRunner
from tests.doubles.custody_system import CustodySystem, WantingNode
from tests.doubles.custody_world import SECRET
from tests.doubles.kms_system import served
from tests.doubles.plain_models import KEY, OWNER, SIGNATURE, SMALL, STRANGER, Watched, write_model
from tests.doubles.served_ledger import served_ledger

from cloister.cli import main
from cloister.cli.log_entry import NoEffect
from cloister.contract.fold import begin, fold
from cloister.errors import CloisterError, Refused, UsageError
from cloister.formats.contract_file import parse_contract_file
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import format_trust_policy
from cloister.sealing.artifact import seal_folder
from cloister.sealing.refusal import ArtifactRefused
from cloister.sealing.signature import sign_model
from cloister.secret import SecretBytes
from cloister.storage.key_file import write_secret, write_signing_key
from cloister.testing.world import DAY


class Office:
    """A folder with every party's keys, and the commands run in it."""

    def __init__(self, system, folder, ledger_url):
        self.system, self.folder = system, folder
        self.kms = self.kms_url = None
        self.ledger_url = ledger_url
        (folder / "constitution.entries").write_bytes(encode_list([system.genesis]))
        (folder / "policy.toml").write_text(format_trust_policy(system.policy(), comment=""))
        write_signing_key(folder / "owner.seed", system.parties.owner)
        write_signing_key(folder / "operator.seed", system.parties.operator)
        for name, key in system.world.custodians.items():
            write_signing_key(folder / f"{name}.seed", key)
            write_secret(folder / f"{name}.seal", system.world.seals[name].secret)
        (folder / "secret").write_bytes(SECRET)

    async def run(self, *arguments, given=None):
        """What the command prints; what it raises."""
        options = [
            *("--ledger", self.ledger_url),
            *("--constitution", self.folder / "constitution.entries"),
            *("--policy", self.folder / "policy.toml"),
            *("--state", self.folder / "state"),
        ]
        if arguments[:2] in (("secret", "put"), ("key", "recover")):
            options += ["--kms", self.kms_url]
        words = [str(one) for one in (*arguments, *options)]
        found = await asyncio.to_thread(CliRunner().invoke, main.cli, words, input=given)
        if isinstance(found.exception, CloisterError):
            raise found.exception
        assert found.exit_code == 0, (found.output, found.exception)
        if self.kms is not None:
            await self.kms.follow()
        return found.output

    async def json(self, *arguments):
        return json.loads(await self.run(*arguments, "--json"))

    async def put(self, *more, **given):
        source = "-" if given else self.folder / "secret"
        return await self.run(
            "secret", "put", source, "--asset", "password", "--key", self.folder / "owner.seed", *more, **given
        )

    async def recover(self, name, **changes):
        keys = {"seal": f"{name}.seal", "key": f"{name}.seed"} | changes
        paths = [part for option, file in keys.items() for part in (f"--{option}", self.folder / file)]
        return await self.run("key", "recover", "--custodian", name, *paths)


class Offices:
    """Opens an office; the KMS that it speaks to can be replaced by a fresh one, which holds nothing."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack

    async def open(self):
        system = CustodySystem(now=int(time.time()))
        office = Office(system, self.folder, await self.stack.enter_async_context(served_ledger(system.ledger)))
        await self.replace_kms(office)
        return office

    async def replace_kms(self, office):
        office.kms = await office.system.started()
        office.kms_url = await self.stack.enter_async_context(served(office.kms))


@pytest.fixture
async def offices(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        yield Offices(tmp_path, stack)


@pytest.fixture
async def office(offices):
    return await offices.open()


async def test_what_an_owner_puts_a_node_gets(office):
    said = await office.put()
    assert "password is deposited as number 1, sealed under root 1" in said
    assets = await WantingNode(office.system).assets_of(office.kms)
    assert assets.values == {"password": SecretBytes(SECRET)}


async def test_a_secret_is_read_from_standard_input_byte_by_byte(office):
    await office.put(given="a line\n")
    assets = await WantingNode(office.system).assets_of(office.kms)
    assert assets.values == {"password": SecretBytes(b"a line\n")}


async def test_the_next_takes_the_place_of_the_one_before(office):
    await office.put()
    assert "as number 2" in await office.put(given="another")
    assert (await WantingNode(office.system).assets_of(office.kms)).values["password"].reveal() == b"another"


async def test_nothing_of_the_secret_is_said_stored_or_logged(office):
    said = await office.put("--json")
    everything = [one.read_bytes() for one in office.folder.rglob("*") if one.is_file() and one.name != "secret"]
    everything += [said.encode(), *office.system.ledger.blobs.values(), *office.system.world.log.entries]
    assert not [one for one in everything if SECRET in one]
    assert SECRET in (office.folder / "secret").read_bytes()  # the search would find it


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--asset", "pass-word"), "has no asset pass-word; it has whisper-1, password"),
        (("--key", "operator.seed"), "the key is not one of model owner, who owns password"),
        (("--asset", "whisper-1"), "whisper-1 is a model: its key has 32 bytes, not 25"),
    ],
    ids=["asset", "key", "size"],
)
async def test_what_would_not_count_is_said_before_anything_is_logged(office, arguments, says, monkeypatch):
    monkeypatch.chdir(office.folder)
    size = len(office.system.world.log.entries)
    with pytest.raises(CloisterError, match=says):
        await office.put(*arguments)
    assert len(office.system.world.log.entries) == size


@pytest.mark.parametrize("size", [0, 65_537])
async def test_a_secret_has_a_size(office, size):
    (office.folder / "secret").write_bytes(bytes(size))
    with pytest.raises(CloisterError, match="a secret has 1 to 65536 bytes"):
        await office.put()


async def test_a_kms_that_does_not_meet_the_trust_policy_is_given_nothing(office):
    strict = office.system.policy(unsafe=())
    (office.folder / "policy.toml").write_text(format_trust_policy(strict, comment=""))
    with pytest.raises(Refused, match=r"trust\.unsafe"):
        await office.put()
    assert not office.system.ledger.blobs


async def test_a_kms_that_lost_the_root_is_given_nothing(offices, office):
    await offices.replace_kms(office)
    with pytest.raises(Refused, match=r"intake\.held: the KMS lost the secret of root 1"):
        await office.put()


async def test_the_list_says_what_is_deposited_granted_and_used(office):
    (model, password) = await office.json("secret", "list")
    assert (model["standing"], password["standing"], password["granted"]) == ("not deposited", "not deposited", 2)
    await office.put()
    await WantingNode(office.system).assets_of(office.kms)
    (_, password) = await office.json("secret", "list")
    assert (password["standing"], password["used"], password["number"], password["root"]) == ("deposited", 1, 1, 1)
    said = await office.run("secret", "list")
    assert "password (secret of model owner): deposited, until" in said
    assert "used 1 times, 2 granted; recovered by custodians" in said


async def test_what_an_owner_revokes_no_node_gets(office):
    await office.put()
    revoked = ("secret", "revoke", "password", "--reason", "a screenshot")
    with pytest.raises(CloisterError, match=r"has no effect there: revocation\.owner"):
        await office.run(*revoked, "--key", office.folder / "operator.seed")
    assert "is given to no node again" in await office.run(*revoked, "--key", office.folder / "owner.seed")
    with pytest.raises(Refused, match=r"asset\.deposit"):
        await WantingNode(office.system).ask(office.kms)
    assert (await office.json("secret", "list"))[1]["standing"] == "revoked"


async def test_what_was_never_deposited_cannot_be_revoked(office):
    with pytest.raises(CloisterError, match="nothing is deposited as password"):
        await office.run("secret", "revoke", "password", "--reason", "x", "--key", office.folder / "owner.seed")


async def test_all_is_lost_and_two_custodians_bring_it_back(offices, office):
    await office.put()
    await offices.replace_kms(office)
    said = await office.recover("bank")
    assert "1 of 2 shares of root 1 given; 1 more are needed" in said
    assert "2 of 2 shares of root 1 given; the KMS has what it takes" in await office.recover("notary")
    assets = await WantingNode(office.system).assets_of(office.kms)
    assert assets.values == {"password": SecretBytes(SECRET)}


async def test_whose_share_was_none_is_listed(offices, office):
    await office.put()
    await offices.replace_kms(office)
    await office.system.give_share(office.kms, "bank", share=SecretBytes(b"a share that is none"))
    await office.recover("notary")
    listed = json.loads(await office.run("key", "list", "--json"))["roots"][0]["shares_given"]
    assert [("refused" in one, one.split()[0]) for one in listed] == [(True, "bank"), (False, "notary")]
    assert "which refused it: it is not its share" in listed[0]
    await office.recover("bank")
    assert "refused" not in await office.run("key", "list")


async def test_a_custodian_with_anothers_keys_gives_nothing(office):
    with pytest.raises(Refused, match=r"share\.open: the key does not open bank's share of root 1"):
        await office.recover("bank", seal="notary.seal")
    with pytest.raises(CloisterError, match=r"has no effect there: recovery\.signature"):
        await office.recover("bank", key="notary.seed")
    with pytest.raises(CloisterError, match="has no party nobody"):
        await office.run(
            *("key", "recover", "--custodian", "nobody"),
            *("--seal", office.folder / "bank.seal", "--key", office.folder / "bank.seed"),
        )
    with pytest.raises(Refused, match=r"share\.custodian: root 1 has no share for operator"):
        await office.run(
            *("key", "recover", "--custodian", "operator"),
            *("--seal", office.folder / "bank.seal", "--key", office.folder / "operator.seed"),
        )


async def test_a_custodian_gives_nothing_to_a_kms_that_it_would_not_trust(office):
    strict = office.system.policy(unsafe=())
    (office.folder / "policy.toml").write_text(format_trust_policy(strict, comment=""))
    with pytest.raises(Refused, match=r"trust\.unsafe"):
        await office.recover("bank")


async def test_a_root_is_rotated_deposited_under_anew_and_retired(office):
    owner, operator = (("--key", office.folder / f"{name}.seed") for name in ("owner", "operator"))
    await office.put()
    said = await office.run("key", "rotate", "--reason", "a custodian left", *operator)
    assert "root 1 will be followed by root 2" in said
    keys = await office.json("key", "list")
    assert [(one["generation"], one["standing"], one["deposits"]) for one in keys["roots"]] == [
        (1, "in use", ["password"]),
        (2, "latest", []),
    ]
    with pytest.raises(CloisterError, match=r"retirement\.owners: would end deposits of model owner"):
        await office.run("key", "retire", "1", "--reason", "it leaked", *operator)
    assert "sealed under root 2" in await office.put()
    assert "roots up to 1 are retired" in await office.run("key", "retire", "1", "--reason", "done", *operator, *owner)
    said = await office.run("key", "list")
    assert "root 1, retired" in said
    assert "recovered by 2 of bank, notary, auditor" in said
    assert (await WantingNode(office.system).assets_of(office.kms)).values["password"].reveal() == SECRET


async def test_every_release_is_listed_and_what_had_no_effect_with_its_reason(office):
    await office.put()
    await WantingNode(office.system).assets_of(office.kms)
    await office.recover("bank")
    forged = office.system.world.use(office.system.world.log.entries[-2], contract=office.system.line)
    office.system.world.log.append(forged)
    said = await office.json("release", "list")
    assert [(one["kind"], one["what"]) for one in said[:2]] == [
        ("use", "password"),
        ("recovery", "bank's share of root 1"),
    ]
    assert said[-1]["effect"].startswith("kms.signature")
    assert [one["index"] for one in await office.json("release", "list", "--since", said[-1]["index"])] == [
        said[-1]["index"]
    ]
    assert "NO EFFECT: kms.signature" in await office.run("release", "list")


async def test_who_got_nothing_is_listed_with_the_checks_that_failed(office):
    node = WantingNode(office.system)
    with pytest.raises(Refused, match=r"asset\.deposit"):
        await node.ask(office.kms)
    await office.kms.follow()
    (said,) = await office.json("release", "list")
    assert (said["kind"], said["effect"]) == ("refusal", "counts")
    assert said["what"].startswith("no assets (asset.deposit: ")
    assert said["to"] == node.secrets.public.thumbprint().hex()


async def test_a_grant_is_a_term_of_the_next_contract(office):
    contract = office.folder / "contract.entries"
    contract.write_bytes(encode_list([office.system.contract_entry]))

    async def granted(*words):
        found = await asyncio.to_thread(CliRunner().invoke, main.cli, ["secret", "grant", str(contract), *words])
        if isinstance(found.exception, CloisterError):
            raise found.exception
        assert found.exit_code == 0, found.output
        return parse_contract_file(found.output.encode())

    after = await granted("--asset", "token", "--owner", "operator", "--uses", "3", "--policy", "gpus.count == 0")
    assert (after.sequence, after.previous) == (1, office.system.line)
    assert [(one.name, one.owner, one.recovery) for one in after.assets][-1] == ("token", "operator", "custodians")
    assert (after.grants[-1].asset, after.grants[-1].uses) == ("token", 3)
    assert after.grants[-1].policy == ("gpus.count == 0",)
    after = await granted("--asset", "password", "--uses", "unlimited", "--days", "1")
    assert [one.uses for one in after.grants if one.asset == "password"] == ["unlimited"]
    assert after.grants[-1].not_after <= time.time() + DAY
    with pytest.raises(CloisterError, match="has no asset token; --owner PARTY"):
        await granted("--asset", "token", "--uses", "1")
    with pytest.raises(CloisterError, match="neither a number from 1 nor"):
        await granted("--asset", "password", "--uses", "0")


def sealed_model(office):
    whole = {path: content for path, content in SMALL.items() if content}  # no signature speaks of empty files
    folder = write_model(office.folder / "llama", whole)
    manifest = seal_folder(folder, office.folder / "llama.sealed", name="llama", key=KEY, progress=Watched())
    return office.folder / "llama.sealed", manifest


async def registered(office, artifact, *, by="owner", signer=None):
    signed: list[object] = []
    if signer is not None:
        (office.folder / "signer.pem").write_bytes(signer.public.pem())
        signed = ["--signer", office.folder / "signer.pem"]
    return await office.json("model", "register", artifact, "--key", office.folder / f"{by}.seed", *signed)


async def test_an_owner_registers_its_model_with_its_signature(office):
    artifact, manifest = sealed_model(office)
    signature = sign_model(manifest, OWNER, ignored=["model.sig"])
    (artifact / "model.sig").write_bytes(signature)
    told = await registered(office, artifact, signer=OWNER)
    assert f"{manifest.digest().hex()}, signed by {OWNER.public.fingerprint.hex()}" in told["effect"]
    entries = office.system.world.log.entries
    state = fold(begin(entries[0], genesis=office.system.constitution.digest()), entries[1:])
    (found,) = state.lines[office.system.line].models.values()
    assert (found.registration.model, found.registration.signature) == (
        manifest.digest(),
        hashlib.sha256(signature).digest(),
    )


async def test_a_signature_that_does_not_hold_is_not_registered(office):
    artifact, manifest = sealed_model(office)
    size = len(office.system.world.log.entries)
    (artifact / "model.sig").write_bytes(sign_model(manifest, STRANGER, ignored=[]))
    with pytest.raises(ArtifactRefused, match=r"artifact\.signature"):
        await registered(office, artifact, signer=OWNER)
    (artifact / "model.sig").write_bytes(SIGNATURE)
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed"):
        await registered(office, artifact, signer=OWNER)
    with pytest.raises(UsageError, match="name the key of who signed it"):
        await registered(office, artifact)
    assert len(office.system.world.log.entries) == size


async def test_a_model_without_a_signature_is_said_to_have_none(office):
    artifact, _ = sealed_model(office)
    with pytest.raises(UsageError, match=r"has no model\.sig"):
        await registered(office, artifact, signer=OWNER)
    assert "with no signature of it" in (await registered(office, artifact))["effect"]


async def test_a_registration_by_no_owner_has_no_effect(office):
    artifact, _ = sealed_model(office)
    with pytest.raises(NoEffect, match="one model owner"):
        await registered(office, artifact, by="operator")


async def test_a_model_that_is_registered_is_not_registered_otherwise(office):
    artifact, manifest = sealed_model(office)
    first = await registered(office, artifact)
    assert await registered(office, artifact) == first
    (artifact / "model.sig").write_bytes(sign_model(manifest, OWNER, ignored=[]))
    with pytest.raises(NoEffect, match="already"):
        await registered(office, artifact, signer=OWNER)


async def test_a_log_of_another_system_is_refused_by_name(office):
    stranger = CustodySystem(now=int(time.time()))
    (office.folder / "constitution.entries").write_bytes(encode_list([stranger.genesis]))
    with pytest.raises(Refused, match=r"kms\.genesis|checkpoint\.signature"):
        await office.run("secret", "list")
