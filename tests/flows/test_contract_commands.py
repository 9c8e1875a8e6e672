"""A contract's life by the command line, over a real ledger and its witness: in force, amended, vetoed, ended."""

import asyncio
import contextlib
import json

import msgspec
import pytest
from click.testing import CliRunner

from cloister.cli import main
from cloister.errors import CloisterError
from cloister.formats.contract_file import format_contract_file, parse_contract_file
from cloister.formats.ledger_messages import encode_list
from cloister.formats.record_file import no_comment
from cloister.ledger.statements import sign_statement
from cloister.peers.ledger import LedgerClient
from cloister.storage.key_file import write_signing_key
from cloister.testing.local_system import LocalSystem

replace = msgspec.structs.replace


class Commands:
    """Two parties' command lines, and a ledger that both can reach."""

    def __init__(self, system, home):
        self.system, self.home = system, home
        genesis = sign_statement("constitution", system.constitution, (system.owner, system.operator))
        (home / "constitution.entries").write_bytes(encode_list([genesis]))
        for name, key in zip(("owner", "operator"), system.signers, strict=True):
            write_signing_key(home / f"{name}.seed", key)

    async def __call__(self, *arguments, code=0):
        """What a command prints, or says as it ends; `code` is how it is to end."""
        found = await asyncio.to_thread(CliRunner().invoke, main.cli, ["contract", *arguments])
        error = found.exception if isinstance(found.exception, CloisterError) else None
        assert (error.exit_code if error else found.exit_code) == code, f"{arguments}: {found.output}{found.exception}"
        return str(error) if error else found.output

    async def log(self, *arguments, code=0):
        """The same, of a command that calls the ledger."""
        place = ("--ledger", self.system.url("ledger"), "--constitution", "constitution.entries")
        return await self(*arguments, *place, code=code)

    async def status(self):
        """What the log says of the one contract in it."""
        return json.loads(await self.log("status", "--json"))["contracts"][0]

    def write(self, contract, name):
        """The contract as TOML."""
        (self.home / name).write_text(format_contract_file(contract, comment=no_comment))


@pytest.fixture
async def commands(tmp_path, monkeypatch):
    system = LocalSystem(tmp_path / "system")
    home = tmp_path / "home"
    home.mkdir()
    system.folder.mkdir()
    monkeypatch.chdir(home)
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        async with LedgerClient(system.url("ledger")) as ledger:
            await ledger.append(sign_statement("constitution", system.constitution, system.signers))
        run = Commands(system, home)
        run.write(system.contract, "contract.toml")
        await run("sign", "contract.toml", "--key", "owner.seed")
        await run("sign", "contract.toml", "--key", "operator.seed", "--out", "other.signed")
        assert "in force" in await run.log("submit", "contract.signed", "other.signed")
        yield run


async def amended(run, name, key, **changes):
    """A proposal of one party: the digest of its entry."""
    (run.home / "draft.toml").write_text(await run("amend", f"{name}.signed"))
    run.write(replace(parse_contract_file((run.home / "draft.toml").read_bytes()), **changes), "next.toml")
    (run.home / "next.signed").unlink(missing_ok=True)
    await run("sign", "next.toml", "--key", key)
    return json.loads(await run.log("submit", "next.signed", "--json"))["entry"]


async def test_a_contract_is_proposed_vetoed_amended_and_accepted(commands):
    later = commands.system.contract.not_after - 60
    first = await amended(commands, "contract", "operator.seed", not_after=later)
    (proposal,) = (await commands.status())["proposals"]
    assert (proposal["entry"], proposal["standing"], proposal["lacks"]) == (first, "open", "1 approvals")
    assert "the vote counts" in await commands.log("vote", first, "--veto", "--key", "owner.seed")
    assert [one["standing"] for one in (await commands.status())["proposals"]] == ["vetoed"]
    second = await amended(commands, "contract", "operator.seed", not_after=later - 60)
    assert "the vote counts" in await commands.log("vote", second, "--approve", "--key", "owner.seed")
    status = await commands.status()
    assert (status["sequence"], status["proposals"]) == (1, [])


async def test_whoever_is_to_lose_its_say_is_named_before_anyone_votes(commands):
    rules = replace(commands.system.contract.changes, approvers=("operator",), veto=("operator",), number=1)
    await amended(commands, "contract", "operator.seed", changes=rules)
    status = await commands.status()
    (proposal,) = status["proposals"]
    assert (status["sequence"], proposal["standing"]) == (0, "open")
    assert proposal["removes"] == ["model owner"]
    assert proposal["lacks"] == "1 approvals and the approval of model owner"


async def test_an_entry_without_effect_is_said_to_have_none_and_why(commands):
    proposal = await amended(commands, "contract", "operator.seed", not_after=commands.system.contract.not_after - 60)
    said = await commands.log("vote", proposal, "--approve", "--key", "operator.seed", code=3)
    assert "vote.twice" in said
    said = await commands.log("vote", "0" * 64, "--approve", "--key", "operator.seed", code=3)
    assert "vote.proposal" in said


async def test_a_contract_is_ended_by_who_may_and_for_good(commands):
    line = commands.system.contract.digest().hex()
    reason = ("--reason", "the agreement was terminated")
    assert "it is revoked" in await commands.log("revoke", line, *reason, "--key", "owner.seed")
    assert (await commands.status())["ended"]
    assert "revoked" in await commands.log("status")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("vote", "xyz", "--veto", "--key", "owner.seed"), 2, "is no digest"),
        (("vote", "0" * 64, "--key", "owner.seed"), 2, "--approve or --veto"),
        (("submit", "contract.toml"), 2, "is not signed"),
        (("revoke", "0" * 64, "--reason", "x", "--key", "owner.seed"), 3, "revocation.contract"),
    ],
    ids=["no digest", "no choice", "not signed", "no such contract"],
)
async def test_what_makes_no_sense_is_refused_by_name(commands, arguments, code, reason):
    assert reason in await commands.log(*arguments, code=code)


async def test_a_ledger_of_another_constitution_is_refused(commands):
    other = LocalSystem(commands.home / "other")
    genesis = sign_statement("constitution", other.constitution, other.signers)
    (commands.home / "constitution.entries").write_bytes(encode_list([genesis]))
    assert "checkpoint.signature" in await commands.log("status", code=3)


async def test_a_ledger_that_does_not_answer_is_unavailable(commands):
    place = ("--ledger", "http://127.0.0.1:9", "--constitution", "constitution.entries")
    assert "the ledger" in await commands("status", *place, code=4)
