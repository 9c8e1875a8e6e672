"""Which revisions a machine takes. Each test changes one thing of a good one, and expects one refusal."""

import dataclasses

import msgspec
import pytest
from tests.doubles.node_manifests import sample_manifest, sample_node

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats import canonical
from cloister.services.deployment.examination import ManifestRefused, Standing, examine_manifest
from cloister.services.deployment.signed_manifest import sign_node_manifest
from cloister.services.deployment.workloads import examine_workloads

replace = msgspec.structs.replace
OPERATOR, STRANGER = SigningKey.generate(), SigningKey.generate()
FIRST = sample_manifest()
SECOND = sample_manifest(sample_node(generation=1), number=2, previous=FIRST.digest())
NEXT = replace(SECOND, number=3, previous=SECOND.digest(), restores=1, nodes=FIRST.nodes)


def standing(*taken, **changed):
    known = Standing(
        deployment="speech",
        machine="alpha",
        operators=frozenset({OPERATOR.public}),
        roles=frozenset({"witness", "gateway"}),
        first=1,
        taken={one.number: one for one in taken},
    )
    return dataclasses.replace(known, **changed)


def examined(manifest, known=None, *, key=OPERATOR, require=lambda node: None):
    data = manifest if isinstance(manifest, bytes) else sign_node_manifest(manifest, key)
    return examine_manifest(data, known or standing(FIRST, SECOND), require_settings=require)


def refusal(*arguments, **named):
    examination = examined(*arguments, **named)
    with pytest.raises(ManifestRefused) as refused:
        examination.require()
    assert examination.failed == [refused.value.check]
    return refused.value


def test_the_next_revision_by_an_operator_is_taken():
    assert examined(NEXT).require().manifest == NEXT
    assert examined(FIRST, standing()).require().manifest == FIRST


@pytest.mark.breaks("manifest.signature")
def test_an_altered_manifest_is_refused_before_it_is_read():
    signed = bytearray(sign_node_manifest(NEXT, OPERATOR))
    signed[-100] ^= 1
    assert refusal(bytes(signed)).check == "manifest.signature"


@pytest.mark.breaks("manifest.signature")
def test_what_an_operator_signed_as_something_else_is_no_manifest():
    other = sign1(OPERATOR, canonical.encode(NEXT), content_type="application/vnd.cloister.contract+cbor")
    detached = sign1(OPERATOR, canonical.encode(NEXT), content_type="application/x", detached=True)
    for data in (other, detached):
        assert refusal(data).check == "manifest.signature"


@pytest.mark.breaks("manifest.operator")
def test_what_names_no_signer_is_nobodys_word():
    for data in (b"", b"\xd2\x84"):
        assert refusal(data).check == "manifest.operator"


@pytest.mark.breaks("manifest.operator")
def test_a_strangers_manifest_is_refused_and_looked_into_no_further():
    examination = examined(NEXT, key=STRANGER, require=lambda node: pytest.fail("looked at"))
    assert examination.failed == ["manifest.operator"]
    assert examination.passed == []  # not even its signature


@pytest.mark.breaks("manifest.deployment")
def test_another_deployments_manifest_is_refused():
    other = standing(FIRST, SECOND, deployment="images")
    assert refusal(NEXT, other).check == "manifest.deployment"


@pytest.mark.breaks("manifest.number")
@pytest.mark.parametrize("number", [2, 4])
def test_a_number_that_is_not_the_next_is_refused(number):
    # It names the revision that this machine took last, so that its number alone is wrong.
    assert refusal(replace(NEXT, number=number)).check == "manifest.number"


@pytest.mark.parametrize("old", [FIRST, SECOND], ids=["older", "last"])
def test_a_revision_that_was_taken_is_refused_when_it_is_played_again(old):
    with pytest.raises(ManifestRefused, match=f"manifest.number: it is number {old.number} again, and the one after 2"):
        examined(old).require()


@pytest.mark.breaks("manifest.number")
def test_a_machine_that_joins_takes_nothing_older_than_it_was_told():
    assert refusal(NEXT, standing(first=4)).check == "manifest.number"
    assert examined(NEXT, standing(first=3)).require().manifest == NEXT


@pytest.mark.breaks("manifest.previous")
def test_a_revision_that_follows_another_one_is_refused():
    assert refusal(replace(NEXT, previous=bytes(32))).check == "manifest.previous"


@pytest.mark.breaks("manifest.restores")
def test_a_rollback_to_other_nodes_than_those_it_names_is_refused():
    assert refusal(replace(NEXT, nodes=SECOND.nodes)).check == "manifest.restores"


def test_a_rollback_to_what_this_machine_never_had_is_the_operators_word():
    known = standing(SECOND)
    assert examined(replace(NEXT, nodes=SECOND.nodes), known).require()


@pytest.mark.breaks("manifest.roles")
def test_a_role_that_this_machine_may_not_run_is_refused():
    assert "may not run kms" in str(refusal(replace(NEXT, restores=0, nodes=(sample_node(role="kms"),))))
    elsewhere = replace(NEXT, restores=0, nodes=(sample_node(role="kms", machine="beta"),))
    assert examined(elsewhere).require()


@pytest.mark.breaks("manifest.settings")
def test_settings_that_a_role_does_not_take_are_refused():
    def require(node):
        raise UsageError(f"settings of {node.name}: no")

    assert "settings of watcher: no" in str(refusal(NEXT, require=require))
    assert examined(replace(NEXT, restores=0, nodes=()), require=require).require()


def test_of_a_revision_that_was_missed_and_is_not_started_only_signer_and_place_are_judged():
    refused_before = replace(NEXT, restores=0, nodes=(sample_node(role="kms"),))
    assert examined(refused_before, require=None).require()
    assert refusal(replace(refused_before, previous=bytes(32)), require=None).check == "manifest.previous"


# Before a manifest is sent.

GATEWAY = sample_node(role="gateway", workload=b"\xab" * 48)


@pytest.mark.breaks("manifest.workload")
def test_a_workload_that_the_contract_does_not_name_is_refused_with_the_node_and_both():
    with pytest.raises(ManifestRefused, match=r"node watcher, workload: the manifest expects ababab.*, and cdcd.* is"):
        examine_workloads([GATEWAY], {"gateway": [b"\xcd" * 48]}).require()
    with pytest.raises(ManifestRefused, match="expects no workload"):
        examine_workloads([replace(GATEWAY, workload=b"")], {"gateway": [b"\xcd" * 48]}).require()


def test_workloads_that_are_named_pass_and_roles_of_which_nothing_is_known_are_left_out():
    kms = sample_node(role="kms", workload=b"\x01" * 48)
    drained = replace(GATEWAY, replicas=0, workload=bytes(48))
    named = {"gateway": [b"\xab" * 48]}
    assert examine_workloads([GATEWAY, kms, drained, sample_node()], named).require() == (GATEWAY,)
