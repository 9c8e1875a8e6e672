"""`cloister section` as personas run it, each in a folder of its own, against a KMS and a ledger over HTTP."""

import asyncio
import contextlib
import json
import time

import msgspec
import pytest
from click.testing import CliRunner
from tests.doubles import hyper_protect_files as hyper_protect
from tests.doubles.custody_system import CustodySystem
from tests.doubles.kms_system import served
from tests.doubles.section_world import OWNERS, SectionWorld
from tests.doubles.served_ledger import served_ledger

from cloister.cli import main
from cloister.cli.explained.contract_words import explain_contract
from cloister.errors import CloisterError, Refused
from cloister.formats import canonical
from cloister.formats.custody_messages import parse_carried_deposit
from cloister.formats.ledger_messages import encode_list
from cloister.formats.trust_policy import format_trust_policy
from cloister.ledger.statements import open_statement, sign_statement
from cloister.node.keys import NodeSecrets
from cloister.node.released_assets import AskingNode
from cloister.node.task_assets import released_task_assets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.kms import KmsClient
from cloister.sandbox.errors import SandboxUnavailable
from cloister.services.gateway.contract import ServedContract, trust_policy
from cloister.services.gateway.keys import KeyWithheld
from cloister.services.gateway.kms_keys import GatewayNode, KmsKeys
from cloister.services.gateway.security import GatewaySecurity
from cloister.services.gateway.task_assets import AGAIN_SECONDS, TaskAssets
from cloister.storage.key_file import write_signing_key
from cloister.testing.world import security_settings

replace = msgspec.structs.replace


def command(*words):
    found = CliRunner().invoke(main.cli, [str(one) for one in words])
    if isinstance(found.exception, CloisterError):
        raise found.exception
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


class Personas:
    """A folder for each persona, with its key and the trust policy that it goes by."""

    def __init__(self, system, folder, kms, urls):
        self.system, self.folder, self.kms, self.urls = system, folder, kms, urls
        keys = {"workload": system.parties.owner, "environment": system.parties.operator}
        for kind, key in (keys | {"secrets": system.world.custodians["bank"]}).items():
            home = folder / kind
            home.mkdir()
            (home / "constitution.entries").write_bytes(encode_list([system.genesis]))
            (home / "policy.toml").write_text(format_trust_policy(system.policy(), comment=""))
            write_signing_key(home / "sign.seed", key)
            self.write(kind)

    def write(self, kind, text="", persona=None):
        """A persona's section in the clear."""
        path = self.folder / kind / "section.toml"
        path.unlink(missing_ok=True)
        command("section", "new", kind, "--persona", persona or OWNERS[kind], "--out", path)
        variables = text or f'{kind.upper()}_TOKEN = "canary of the {kind}"'
        path.write_text(path.read_text().replace("[variables]", f"[variables]\n{variables}"))

    async def run(self, kind, verb, *arguments):
        """What a persona's command prints; what it raises."""
        home, (ledger, kms) = self.folder / kind, self.urls
        options = [*("--ledger", ledger, "--constitution", home / "constitution.entries")]
        options += ["--policy", home / "policy.toml", "--state", home / "state"]
        options += ["--kms", kms] if verb == "seal" else []
        said = await asyncio.to_thread(command, "section", verb, *arguments, *options)
        await self.kms.follow()
        return said

    async def listed(self):
        """What `cloister secret list --json` says to whoever may read the log."""
        home = self.folder / "workload"
        options = ("--constitution", home / "constitution.entries", "--policy", home / "policy.toml")
        place = ("--ledger", self.urls[0], "--state", home / "state")
        return await asyncio.to_thread(command, "secret", "list", "--json", *place, *options)

    async def seal(self, kind, *more, key=None):
        home = self.folder / kind
        return await self.run(kind, "seal", home / "section.toml", "--key", (key or home / "sign.seed"), *more)

    async def submit(self, *kinds):
        return await self.run(kinds[0], "submit", *(self.folder / kind / "section.sealed" for kind in kinds))

    def refusals(self):
        """How many the log has."""
        statements = [open_statement(entry) for entry in self.system.world.log.entries]
        return sum(statement.kind == "refusal" for statement in statements)

    async def together(self):
        """What a node gets of all sections, from the KMS over HTTP."""
        settings = security_settings("gateway")
        node = AskingNode(self.system.tee, NodeSecrets.generate(), settings, self.system.line)
        async with KmsClient(self.urls[1]) as client:
            return (await released_task_assets(client, node, self.system.examined(self.kms), model=None)).sections


@pytest.fixture
async def personas(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        terms = SectionWorld(now=int(time.time())).contract
        system = CustodySystem(now=int(time.time()), assets=terms.assets, grants=terms.grants)
        ledger = await stack.enter_async_context(served_ledger(system.ledger))
        kms = await system.started()
        yield Personas(system, tmp_path, kms, (ledger, await stack.enter_async_context(served(kms))))


async def test_what_personas_seal_apart_comes_together_on_the_node_alone(personas):
    for kind in OWNERS:
        await personas.seal(kind)
    said = await personas.submit(*OWNERS)
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        f"{kind} is deposited as number 1, sealed under root 1" for kind in OWNERS
    ]
    together = await personas.together()
    assert {name: value.reveal().decode() for name, value in together.variables.items()} == {
        f"{kind.upper()}_TOKEN": f"canary of the {kind}" for kind in OWNERS
    }


async def test_nothing_that_leaves_a_persona_holds_its_plaintext(personas):
    said = "".join([await personas.seal(kind, "--json") for kind in OWNERS]) + await personas.submit(*OWNERS)
    log = personas.system.ledger
    given = [path.read_bytes() for path in personas.folder.rglob("*.sealed")]
    given += [said.encode(), *log.blobs.values(), *personas.system.world.log.entries]
    assert not [one for one in given if b"canary" in one or b"_TOKEN" in one]
    for kind in OWNERS:
        mine = [path for path in (personas.folder / kind).rglob("*") if path.is_file()]
        holding = [path.name for path in mine if b"canary" in path.read_bytes()]
        assert holding == ["section.toml"]  # the search finds it there, and no other persona's anywhere
        assert (personas.folder / kind / "section.toml").stat().st_mode & 0o777 == 0o600


async def test_a_sealed_section_says_what_it_is_for(personas):
    await personas.seal("workload", "--days", "30")
    sealed = personas.folder / "workload" / "section.sealed"
    said = json.loads(command("section", "show", sealed, "--json"))
    contract = personas.system.contract
    assert (said["contract"], said["under"]) == (contract.digest().hex(), [contract.digest().hex()])
    assert (said["asset"], said["number"], said["task"]) == ("workload", 1, "serve")
    assert said["workloads"] == [contract.serving.nodes[0].workloads[0].hex()]
    assert said["signed"] == personas.system.parties.owner.public.hex()
    assert "workload, number 1, sealed under root 1" in command("section", "show", sealed)
    await personas.seal("workload", "--any-version")
    assert json.loads(command("section", "show", sealed, "--json"))["under"] == "line"


def test_a_section_in_the_clear_is_shown_without_its_values(tmp_path):
    path, extra = tmp_path / "mine.toml", tmp_path / "extra"
    extra.write_bytes(b"\xff\x00")
    command("section", "new", "secrets", "--persona", "bank", "--file", f"keys/one={extra}", "--out", path)
    path.write_text(path.read_text().replace("[variables]", '[variables]\nTOKEN = "canary"'))
    said = json.loads(command("section", "show", path, "--json"))
    assert (said["kind"], said["variables"], said["files"]) == ("secrets", {"TOKEN": 6}, {"keys/one": 2})
    shown = command("section", "show", path)
    assert "variable TOKEN: 6 characters" in shown
    assert "canary" not in shown


def test_a_section_that_others_may_read_is_not_taken(tmp_path):
    path = tmp_path / "workload.toml"
    command("section", "new", "workload", "--persona", "vendor", "--out", path)
    with pytest.raises(CloisterError, match=r"the section .* cannot be made: File exists"):
        command("section", "new", "workload", "--persona", "vendor", "--out", path)
    path.chmod(0o644)
    with pytest.raises(CloisterError, match="readable by others"):
        command("section", "show", path)


async def test_what_would_not_count_is_said_before_anything_is_sealed(personas):
    folder = personas.folder
    with pytest.raises(CloisterError, match="the key is not one of model owner, who owns workload"):
        await personas.seal("workload", key=folder / "environment" / "sign.seed")
    with pytest.raises(CloisterError, match="environment is the environment section of operator, and this is the work"):
        await personas.seal("workload", "--asset", "environment", key=folder / "environment" / "sign.seed")
    with pytest.raises(CloisterError, match="password is no section"):
        await personas.seal("workload", "--asset", "password")
    personas.write("workload", persona="somebody")
    with pytest.raises(CloisterError, match="has none as the workload section of somebody"):
        await personas.seal("workload")
    assert not list(folder.rglob("*.sealed"))


async def test_a_kms_that_does_not_meet_the_trust_policy_is_given_nothing(personas):
    strict = personas.system.policy(unsafe=())
    (personas.folder / "workload" / "policy.toml").write_text(format_trust_policy(strict, comment=""))
    with pytest.raises(Refused, match=r"trust\.unsafe"):
        await personas.seal("workload")
    assert not list(personas.folder.rglob("*.sealed"))


async def test_the_same_number_does_not_count_twice(personas):
    await personas.seal("workload")
    first = personas.folder / "workload" / "first.sealed"
    await personas.seal("workload", "--out", first)
    await personas.submit("workload")
    with pytest.raises(CloisterError, match=r"no effect there: deposit\.number"):
        await personas.run("workload", "submit", first)
    assert "as number 2" in await personas.seal("workload")


async def test_a_sealed_section_with_a_flipped_bit_is_not_taken(personas):
    await personas.seal("workload")
    path = personas.folder / "workload" / "section.sealed"
    carried, size = path.read_bytes(), len(personas.system.world.log.entries)
    for at in (len(carried) // 2, len(carried) - 1, 40):
        path.write_bytes(carried[:at] + bytes([carried[at] ^ 1]) + carried[at + 1 :])
        with pytest.raises(CloisterError, match=r"section\.sealed"):
            await personas.submit("workload")
    assert len(personas.system.world.log.entries) == size


async def test_one_sections_bytes_under_anothers_signature_are_not_taken(personas):
    for kind in ("workload", "environment"):
        await personas.seal(kind)
    mine, other = (personas.folder / kind / "section.sealed" for kind in ("workload", "environment"))
    swapped = canonical.encode(
        type(parse_carried_deposit(mine.read_bytes()))(
            entry=parse_carried_deposit(mine.read_bytes()).entry,
            blob=parse_carried_deposit(other.read_bytes()).blob,
        )
    )
    mine.write_bytes(swapped)
    with pytest.raises(CloisterError, match="the sealed bytes are not those that were signed"):
        await personas.submit("workload")


async def test_a_task_with_a_section_left_out_gets_none(personas):
    for kind in ("workload", "environment"):
        await personas.seal(kind)
    await personas.submit("workload", "environment")
    with pytest.raises(Refused, match=r"asset\.deposit: .*secrets was never deposited"):
        await personas.together()


async def test_a_section_for_the_version_before_is_listed_as_that(personas):
    await personas.seal("workload")
    await personas.seal("environment", "--any-version")
    await personas.submit("workload", "environment")
    system = personas.system
    successor = replace(system.contract, sequence=1, previous=system.contract.digest())
    signers = (*system.signers, *system.world.custodians.values())
    await system.ledger.append(sign_statement("contract", successor, signers))
    listed = {one["asset"]: one["standing"] for one in json.loads(await personas.listed())}
    assert listed["workload"] == "deposited for another version of the contract"
    assert listed["environment"] == "deposited"


def test_who_signs_a_contract_reads_whose_section_is_what():
    said = {one.subject: one.says for one in explain_contract(SectionWorld().contract).assets}
    assert said["workload"].startswith("the workload section of model owner's; ")
    assert said["environment"].startswith("the environment section of operator's; ")


async def test_two_personas_that_define_one_variable_stop_the_task(personas):
    personas.write("environment", 'WORKLOAD_TOKEN = "mine"')
    for kind in OWNERS:
        await personas.seal(kind)
    await personas.submit(*OWNERS)
    with pytest.raises(Refused, match=r"section\.conflict: workload and environment both define 1 variables"):
        await personas.together()


def test_sections_come_from_ibms_form_and_go_back(tmp_path):
    machine, signer = (hyper_protect.KeyFiles(tmp_path, name) for name in ("machine", "signer"))
    contract = tmp_path / "contract.yaml"
    contract.write_text(hyper_protect.contract(machine, signer))
    keys = ("--signer", signer.public, "--private-key", machine.private)
    names = ("--workload-persona", "vendor", "--environment-persona", "operator")
    said = json.loads(command("section", "import", contract, *keys, *names, "--out", tmp_path / "in", "--json"))
    workload, environment = said["files"]
    assert json.loads(command("section", "show", workload, "--json"))["persona"] == "vendor"
    to = ("--certificate", machine.public)
    (tmp_path / "token").write_text(command("section", "export", workload, *to))
    both = ("--workload", tmp_path / "token", "--signing-key", signer.private)
    contract.write_text(command("section", "export", environment, *to, *both))
    command("section", "import", contract, *keys, *names, "--out", tmp_path / "again")
    for name in ("workload.toml", "environment.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    with pytest.raises(CloisterError, match="no contract is unsigned"):
        command("section", "export", environment, *to)
    with pytest.raises(CloisterError, match="exported by itself"):
        command("section", "export", workload, *to, *both)
    lines = contract.read_text().splitlines()
    contract.write_text("\n".join(line for line in lines if "Signature" not in line))
    with pytest.raises(Refused, match=r"imported\.signed"):
        command("section", "import", contract, *keys, *names, "--out", tmp_path / "third")
    assert not (tmp_path / "third").exists()


class Engine:
    """Takes what the parties give, and may be unable to use it."""

    def __init__(self):
        self.taken = []
        self.fault = None

    async def take(self, given):
        if self.fault is not None:
            raise SandboxUnavailable(self.fault)
        self.taken.append(given.sections)


@contextlib.asynccontextmanager
async def gateway_of(personas):
    """The keys of a gateway of this system, and its engine."""
    system, engine = personas.system, Engine()
    contract = ServedContract(system.line, system.contract)
    policy = trust_policy(contract, GatewaySecurity())
    node = GatewayNode(system.tee, NodeSecrets.generate(), security_settings("gateway"), contract, policy)
    async with KmsClient(personas.urls[1]) as client:
        clock = WitnessedClock(lambda: system.now)
        yield KmsKeys(client, node, clock=clock, assets=TaskAssets(engine.take)), engine


async def test_a_gateway_opens_nothing_before_its_engine_has_every_partys_section(personas):
    await personas.seal("workload")
    await personas.submit("workload")
    async with gateway_of(personas) as (keys, engine):
        for _ in range(2):
            with pytest.raises(KeyWithheld, match=r"of its parties: asset\.deposit: .*environment.*\(of bank, model"):
                await keys.fetch_ahead()
        assert personas.refusals() == 1  # the second time nobody was asked: nothing else was logged since
        for kind in ("environment", "secrets"):
            await personas.seal(kind)
            await personas.submit(kind)
        keys._assets._refused_at -= AGAIN_SECONDS
        keys._examined_at = float("-inf")
        await keys.fetch_ahead()
        await keys.key_for(1)
        assert keys.missing() == []
    (taken,) = engine.taken
    assert taken.variables["WORKLOAD_TOKEN"].reveal() == b"canary of the workload"


async def test_an_engine_that_cannot_use_its_sections_is_tried_again_and_no_use_is_spent_on_that(personas):
    for kind in OWNERS:
        await personas.seal(kind)
    await personas.submit(*OWNERS)
    async with gateway_of(personas) as (keys, engine):
        engine.fault = "it cannot use what its sections hold"
        for _ in range(2):
            with pytest.raises(KeyWithheld, match="assets of its parties: it cannot use"):
                await keys.fetch_ahead()
        assert len(personas.system.custody(personas.kms).custody.counted) == 1
        engine.fault = None
        await keys.fetch_ahead()
        assert keys.missing() == []
