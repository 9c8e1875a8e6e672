"""Whatever is changed in a node's evidence, of made-up hardware: it is refused by name, or says what it said before.

Endorsements are bound by nothing: one that is left out, doubled or added may be taken, and then changes no word of what
was appraised. `ALTERED_MUTANTS` says how many changes of each platform's evidence are tried (150).
"""

import os
import random
from dataclasses import replace

import cbor2
import msgspec
import pytest
from tests.fuzz.evidence import changed
from tests.fuzz.structures import shuffled

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.evidence import MAXIMUM_COMPLETED, SecuritySettings, parse_evidence
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.testing.made_tees import MadeAzureTee, MadeGpus, MadeNitroTee, MadeSnpTee, MadeTdxTee, policy_of

NOW = 1_800_000_000
WORKLOAD = b"\5" * 48
KEYS = NodeSecrets.generate().public
CHALLENGE, SUBJECT = b"c" * 32, b"s" * 32
MUTANTS = int(os.environ.get("ALTERED_MUTANTS", "150"))
TEES = {
    "snp": MadeSnpTee(NOW, WORKLOAD),
    "tdx with a GPU": MadeTdxTee(NOW, WORKLOAD, MadeGpus(NOW, devices=1)),
    "azure-snp": MadeAzureTee(NOW, WORKLOAD),
    "nitro": MadeNitroTee(NOW, WORKLOAD),
}


def whole(tee):
    settings = SecuritySettings(role="gateway", unsafe=policy_of([tee], [WORKLOAD]).unsafe, values={"n": 1, "s": "x"})
    made = evidence(tee, challenge=CHALLENGE, settings=settings, subject=SUBJECT, keys=KEYS)
    return msgspec.structs.replace(made, endorsements=(*made.endorsements, *tee.fetched()))


def places(value, path=()):
    """Every object, list, and value in them, by its path."""
    yield path, value
    if isinstance(value, dict | list):
        for at in list(value) if isinstance(value, dict) else range(len(value)):
            yield from places(value[at], (*path, at))


def altered(tree, other, chance):
    """The tree with one thing in it changed, in canonical CBOR."""
    copy = cbor2.loads(cbor2.dumps(tree))
    path, value = chance.choice(list(places(copy))[1:])
    parent = copy
    for step in path[:-1]:
        parent = parent[step]
    if isinstance(value, bytes) and value:
        parent[path[-1]] = changed(value, other, chance)
    elif isinstance(value, list) and value:
        parent[path[-1]] = shuffled(value, [], chance)
    elif isinstance(value, dict):
        del parent[path[-1]]
    else:
        parent[path[-1]] = chance.choice([0, 1, -1, "", "software", "snp", "kms", b"x", [], None, True])
    return cbor2.dumps(copy, canonical=True)


@pytest.mark.parametrize("tee", TEES.values(), ids=TEES)
def test_nothing_that_was_changed_in_a_nodes_evidence_says_anything_new(tee):
    given, chance = whole(tee), random.Random(tee.platform)
    held = policy_of([tee], [WORKLOAD])
    reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(given.settings.digest(),))
    wanted = Expected(CHALLENGE, SUBJECT, reference)
    before = replace(examine_evidence(given, held, wanted, at=NOW, seen=SEEN_NOTHING).require(), seen=SEEN_NOTHING)
    tree = msgspec.to_builtins(given, builtin_types=(bytes,))
    refused = 0
    for _ in range(MUTANTS):
        mutant = altered(tree, given.report, chance)
        try:
            examination = examine_evidence(
                parse_evidence(mutant, limit=MAXIMUM_COMPLETED), held, wanted, at=NOW, seen=SEEN_NOTHING
            )
        except (MalformedInput, TooLarge):
            refused += 1
            continue
        if examination.failed:
            refused += 1
            continue
        assert replace(examination.require(), seen=SEEN_NOTHING) == before, mutant.hex()
    assert refused > MUTANTS * 0.7
