"""`cloister deploy` before machines that answer at once: what is planned, sent, refused, and to whom."""

import contextlib
import json

import msgspec
import pytest
from tests.doubles.deployed_machine import NOBODY, Machine, is_in_force
from tests.doubles.node_manifests import MANIFEST_FILE, sample_node

from cloister.cli.deploy_access import Access, Wish
from cloister.cli.deploy_apply import apply, apply_nodes, named_workloads, read_manifest
from cloister.cli.deploy_drain import drain_node, without
from cloister.cli.deploy_rollback import roll_back
from cloister.cli.deploy_rollout import RolloutFailed
from cloister.cli.deploy_status import NotServing, status
from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, Refused, Unavailable, UsageError
from cloister.hosting.settings import BadSettings
from cloister.services.deployment.examination import ManifestRefused
from cloister.testing.world import WORKLOAD, World

replace = msgspec.structs.replace


@contextlib.asynccontextmanager
async def two_machines(folder):
    """Machines alpha and beta of one deployment and operator, and how they are reached."""
    async with Machine(folder / "alpha") as alpha:
        operators = alpha.settings["operators"]
        async with Machine(folder / "beta", name="beta", operators=operators) as beta:
            beta.operator = alpha.operator
            yield alpha, beta, Wish(alpha.operator, frozenset(), as_json=False)


def reach(*machines):
    return Access(tuple(machine.url for machine in machines), None)


def drained(machine, name="watcher", **changed):
    """A node that needs no process: what is planned and sent is the same."""
    return replace(machine.relay(NOBODY, name), replicas=0, **changed)


async def test_machines_take_revisions_in_turn_and_one_that_missed_some_gets_them_with_the_next(tmp_path, capsys):
    async with two_machines(tmp_path) as (alpha, beta, wish):
        both = reach(alpha, beta)
        first, second, third = ((drained(alpha, generation=number), drained(beta, "other")) for number in (1, 2, 3))
        await apply_nodes(both, "speech", first, wish)
        assert "revision 1 is in force on alpha, beta" in capsys.readouterr().out
        await apply_nodes(reach(alpha), "speech", second, wish)
        assert "beta: not named with --machine, and left as it is" in capsys.readouterr().out
        with pytest.raises(UsageError, match=r"different revisions in force \(alpha 2, beta 1\)"):
            await drain_node("watcher", both, wish)
        await apply_nodes(both, "speech", third, wish)
        assert [one.standing for one in (await beta.state()).revisions] == ["past", "missed", "in force"]
        await apply_nodes(both, "speech", third, wish)
        assert "nothing changes: all have revision 3" in capsys.readouterr().out
        # The one before comes back on both, by its number.
        await roll_back(2, both, wish)
        states = [await alpha.state(), await beta.state()]
        assert [(state.head.number, state.head.restores) for state in states] == [(4, 2), (4, 2)]
        assert states[0].head.digest == states[1].head.digest
        # A machine that was told nothing of the last one gets it when the same is applied again.
        await roll_back(None, reach(alpha), wish)
        await apply_nodes(both, "speech", third, wish)
        assert (is_in_force(await beta.state(), 5), (await alpha.state()).head.number) == (True, 5)


async def test_a_dry_run_sends_nothing_and_needs_no_key(tmp_path, capsys):
    async with Machine(tmp_path) as machine:
        node = machine.relay(NOBODY)
        await apply_nodes(reach(machine), "speech", (node,), Wish(None, frozenset(), as_json=True))
        said = json.loads(capsys.readouterr().out)
        (planned,) = said["machines"]
        steps = [{"does": "start", "process": f"relay/{node.ports[0]}", "why": "relay"}]
        assert (said["revision"], planned["steps"], planned["standing"]) == (1, steps, "planned")
        assert (await machine.state()).revisions == ()


async def test_a_node_that_does_not_come_up_fails_the_command_and_later_machines_are_not_told(tmp_path):
    async with two_machines(tmp_path) as (alpha, beta, wish):
        bad = alpha.relay(NOBODY, ready_seconds=1)
        with pytest.raises(RolloutFailed, match=r"revision 1 failed on alpha: relay/[0-9]+ was not ready in 1 s"):
            await apply_nodes(reach(alpha, beta), "speech", (bad, drained(beta)), wish)
        assert (await beta.state()).revisions == ()


async def test_a_revision_that_a_later_machine_refuses_is_told_with_those_that_have_it_and_can_be_followed(tmp_path):
    async with two_machines(tmp_path) as (alpha, beta, wish):
        await apply_nodes(reach(alpha, beta), "speech", (drained(alpha),), wish)
        elsewhere = drained(beta, "other", settings='bundle_urls = ["unix:/x"]\ngateway_urls = ["unix:/x"]\n')
        with pytest.raises(
            Refused, match=r"manifest.settings: .*; alpha has revision 2 in force: cloister deploy roll"
        ):
            await apply_nodes(reach(alpha, beta), "speech", (drained(alpha), elsewhere), wish)
        await roll_back(None, reach(alpha, beta), wish)
        assert [one.standing for one in (await beta.state()).revisions] == ["past", "missed", "in force"]


async def test_machines_that_do_not_belong_together_are_not_told_anything(tmp_path):
    async with two_machines(tmp_path) as (alpha, beta, wish):
        await apply_nodes(reach(alpha), "speech", (drained(alpha),), wish)
        await apply_nodes(reach(beta), "speech", (drained(beta),), wish)
        with pytest.raises(
            ManifestRefused, match=r"manifest.previous: revision 1 of beta is another than that of alpha"
        ):
            await apply_nodes(reach(alpha, beta), "speech", (), wish)
        with pytest.raises(UsageError, match="two --machine are called alpha"):
            await apply_nodes(reach(alpha, alpha), "speech", (), wish)
        with pytest.raises(UsageError, match="the manifest is of images, and the machines are of speech"):
            await apply_nodes(reach(alpha), "images", (), wish)
        with pytest.raises(UsageError, match="no revision was in force before"):
            await roll_back(None, reach(alpha), wish)
        with pytest.raises(UsageError, match="alpha has no revision 9 at hand; it has 1 to 1"):
            await roll_back(9, reach(alpha), wish)


@pytest.mark.breaks("manifest.operator")
async def test_nothing_is_built_upon_what_a_stranger_signed_unless_it_is_said_that_this_is_no_stranger(tmp_path):
    colleague = SigningKey.generate()
    operators = [colleague.public.hex()]
    async with Machine(tmp_path, operators=operators) as machine:
        theirs = Wish(colleague, frozenset(), as_json=False)
        await apply_nodes(reach(machine), "speech", (drained(machine),), theirs)
        own = Wish(machine.operator, frozenset(), as_json=False)
        for attempt in (
            apply_nodes(reach(machine), "speech", (), own),
            drain_node("watcher", reach(machine), own),
            roll_back(1, reach(machine), own),
        ):
            with pytest.raises(ManifestRefused, match=r"manifest.operator: revision 1 of alpha is signed by"):
                await attempt
        known = Wish(machine.operator, frozenset({colleague.public}), as_json=False)
        with pytest.raises(Refused, match="is no operator's key here"):  # which the machine's own settings say
            await apply_nodes(reach(machine), "speech", (), known)


def test_a_drained_node_is_named_by_itself_or_by_one_process():
    node = sample_node(replicas=2, ports=(1, 2, 3))
    relay = sample_node(name="relay", role="relay", ports=(7, 8), health_ports=(17, 18))
    assert without((node, relay), "watcher") == (replace(node, replicas=0), relay)
    assert without((node, relay), "watcher/2")[0] == replace(node, replicas=1, ports=(1, 3))
    assert without((node, relay), "relay/7")[1] == replace(relay, replicas=0, ports=(8,), health_ports=(18,))
    with pytest.raises(UsageError, match="gone is not in the revision in force; there are: watcher, relay"):
        without((node, relay), "gone")
    with pytest.raises(UsageError, match="there are: watcher/1, watcher/2, watcher/3, relay/7, relay/8"):
        without((node, relay), "watcher/9")


# Before a machine is asked.


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "manifest.toml"
    path.write_text(MANIFEST_FILE)
    (tmp_path / "gateway.toml").write_text(
        'kms_urls = ["http://127.0.0.1:1"]\ncontract = "/c"\nstate = "/s"\nrun_folder = "/r"\nplatform_key = "/k"\n'
    )
    return path


def run(command, *arguments):
    command.main([*map(str, arguments), "--machine", NOBODY], standalone_mode=False)


def test_settings_come_from_the_manifest_or_from_a_file_beside_it(manifest):
    deployment, (watcher, gate) = read_manifest(manifest)
    assert deployment == "speech"
    assert 'name = "witness.example/one"' in watcher.settings
    assert gate.settings == (manifest.parent / "gateway.toml").read_text()


def test_a_manifest_that_makes_no_sense_is_told_with_its_file(manifest):
    manifest.write_text(MANIFEST_FILE.replace("replicas = 1", "replicas = 3"))
    with pytest.raises(MalformedInput, match=r"manifest.toml: .*node watcher: 3 replicas need as many ports"):
        run(apply, manifest, "--dry-run")
    (manifest.parent / "gateway.toml").unlink()
    with pytest.raises(UsageError, match=r"gateway\.toml cannot be read"):
        run(apply, manifest, "--dry-run")


def test_settings_that_a_role_does_not_take_are_told_before_a_machine_is_asked(manifest):
    manifest.write_text(MANIFEST_FILE.replace("logs = []", 'log = "x"'))
    with pytest.raises(BadSettings, match="settings of watcher, line 4: unknown setting log; the nearest"):
        run(apply, manifest, "--dry-run")


def test_a_workload_that_the_contract_does_not_name_is_refused_before_a_machine_is_asked(manifest):
    contract = manifest.parent / "contract"
    contract.write_bytes(World().log.entries[1])
    with pytest.raises(ManifestRefused, match=r"manifest.workload: node gate, workload: the manifest expects ababab"):
        run(apply, manifest, "--dry-run", "--contract", contract)
    assert named_workloads(contract, None) == {"gateway": [WORKLOAD]}


def test_without_a_key_there_is_only_a_look(manifest):
    with pytest.raises(UsageError, match="a revision is signed: name an operator's key with --key FILE, or only look"):
        run(apply, manifest)


def test_no_machine_is_told_with_its_address(manifest):
    with pytest.raises(Unavailable, match=r"the deployment API at http://127.0.0.1:1 cannot be reached"):
        run(apply, manifest, "--dry-run")


def test_the_status_of_a_machine_that_does_not_answer_is_said_and_is_no_success(capsys):
    with pytest.raises(NotServing, match=r"not all of it serves now: http://127.0.0.1:1"):
        run(status)
    assert "http://127.0.0.1:1: the deployment API at" in capsys.readouterr().out
