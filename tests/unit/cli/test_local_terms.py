import dataclasses
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from cloister.cli.local.endpoints import ENDPOINTS
from cloister.cli.local.keys import LocalKeys
from cloister.cli.local.terms import (
    DAY,
    Found,
    amended,
    first_terms,
    read_terms,
    sign_genesis,
    trust_policy,
    what_changed,
)
from cloister.contract.amendment import AmendmentRefused
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.formats.contract import Endpoint
from cloister.services.gateway.engine_choice import ENGINES
from cloister.services.gateway.security import GatewaySecurity, Runs
from cloister.services.kms.security import KmsSecurity

NOON = 1_800_000_000
SANDBOX, ENGINE, MODEL = (hashlib.sha256(name).digest() for name in (b"sandbox", b"engine", b"model"))


def local_keys():
    platform, log, witness, owner, operator = (SigningKey.generate() for _ in range(5))
    return LocalKeys(platform, log, witness, owner, operator, MlDsaKey.generate())


KEYS = local_keys()
FOUND = Found(
    workload=hashlib.sha384(b"code").digest(),
    gateway_workload=hashlib.sha384(b"code and sandbox").digest(),
    engine="speech",
    runs=Runs(SANDBOX, ENGINE, MODEL, "files"),
    kms=KmsSecurity(),
    gateway=GatewaySecurity(),
)
OTHER = hashlib.sha256(b"other").digest()
GENESIS = sign_genesis(KEYS, FOUND)
FIRST = first_terms(KEYS, FOUND, GENESIS, at=NOON)


def found(**changes):
    return dataclasses.replace(FOUND, **changes)


def test_the_first_terms_are_signed_by_both_parties_and_read_back():
    assert read_terms(FIRST.constitutions, FIRST.contracts) == FIRST
    assert {duty for party in FIRST.contract.parties for duty in party.duties} == {"model-owner", "operator"}
    assert FIRST.constitution.local
    assert FIRST.contract.constitution == FIRST.constitution.digest()


def test_a_first_contract_goes_on_from_a_genesis_that_names_other_code():
    begun = first_terms(KEYS, found(workload=hashlib.sha384(b"newer").digest()), GENESIS, at=NOON)
    assert begun.constitution == FIRST.constitution
    assert read_terms(begun.constitutions, begun.contracts) == begun


def test_terms_that_name_what_was_found_stay_as_they_are():
    assert what_changed(FIRST, KEYS, FOUND, at=NOON + DAY) == []
    assert amended(FIRST, KEYS, FOUND, at=NOON + DAY) == FIRST


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("code", {"workload": hashlib.sha384(b"other code").digest()}),
        ("KMS settings", {"kms": KmsSecurity(head_seconds=20)}),
        ("gateway settings", {"gateway": GatewaySecurity(date_window_seconds=60)}),
        ("sandbox profile", {"runs": dataclasses.replace(FOUND.runs, sandbox=OTHER)}),
        ("engine", {"runs": dataclasses.replace(FOUND.runs, engine=OTHER)}),
        ("model", {"runs": dataclasses.replace(FOUND.runs, model=OTHER)}),
    ],
)
def test_each_change_is_named_and_makes_successors_by_the_rules(words, changes):
    changed = found(**changes)
    assert what_changed(FIRST, KEYS, changed, at=NOON) == [words]
    after = amended(FIRST, KEYS, changed, at=NOON)
    assert read_terms(after.constitutions, after.contracts) == after
    assert after.contract.sequence == 1
    assert after.constitution.sequence == (1 if words in {"code", "KMS settings"} else 0)
    assert what_changed(after, KEYS, changed, at=NOON) == []
    assert trust_policy(after) == trust_policy(FIRST)


def test_a_sealed_model_takes_the_place_of_the_engines_own_under_its_name():
    changed = found(sealed="tiny-llama", runs=dataclasses.replace(FOUND.runs, model=OTHER))
    (asset,) = amended(FIRST, KEYS, changed, at=NOON).contract.assets
    assert (asset.kind, asset.name, asset.digest, asset.owner) == ("model", "tiny-llama", OTHER, "model owner")


def test_every_engine_has_endpoints_that_a_contract_may_open():
    for engine in ENGINES:
        assert amended(FIRST, KEYS, found(engine=engine), at=NOON).contract.serving.endpoints == ENDPOINTS[engine]


def test_a_contract_opens_what_an_upstream_says_that_it_speaks(tmp_path):
    example = Path(__file__).parents[3] / "examples" / "upstreams" / "triton.toml"
    shutil.copy(example, tmp_path / "upstream.toml")
    task = amended(FIRST, KEYS, found(engine=str(tmp_path)), at=NOON).contract.serving
    assert task.engine.name == "upstream"
    assert Endpoint(method="POST", path="/v2/models/{id}/infer") in task.endpoints


def test_a_contract_near_its_end_is_renewed_by_a_successor():
    late = NOON + 340 * DAY
    assert what_changed(FIRST, KEYS, FOUND, at=late) == ["validity"]
    after = amended(FIRST, KEYS, FOUND, at=late)
    assert after.contract.not_after > FIRST.contract.not_after
    assert after.constitution == FIRST.constitution


def test_terms_signed_by_other_keys_are_not_read():
    others = local_keys()
    forged = amended(FIRST, others, found(engine="echo"), at=NOON)
    with pytest.raises(AmendmentRefused, match=r"contract\.signatures|constitution\.signatures"):
        read_terms(forged.constitutions, forged.contracts)


def test_the_trust_policy_pins_the_beginnings_and_accepts_the_software_tee_by_name():
    policy = trust_policy(FIRST)
    assert (policy.constitution, policy.contract) == (FIRST.constitution.digest(), FIRST.contract.digest())
    assert policy.unsafe == ("UnsafeAllowSoftwareTee",)
    assert msgspec.structs.asdict(policy)["maximum_state_age_seconds"] == 600
