"""The contract that parties signed, in a state folder: read from their files, held against what runs, kept."""

import msgspec
import pytest
from tests.unit.cli.test_fit import AGREED, HERE
from tests.unit.cli.test_local_terms import FIRST, KEYS, NOON, OTHER

from cloister.cli.local.agreed import ContractDoesNotFit, keep_agreed, read_agreed, require_fit
from cloister.cli.local.terms import trust_policy
from cloister.cli.state_folder import StateFolder
from cloister.client.memory_file import MemoryFile
from cloister.client.trust_policy_file import read_trust_policy
from cloister.contract.amendment import AmendmentRefused
from cloister.contract.draft import successor_of
from cloister.errors import UsageError
from cloister.formats.trust_policy import format_trust_policy
from cloister.ledger.statements import sign_statement
from cloister.trust.memory import first_contact

replace = msgspec.structs.replace
OWN = trust_policy(FIRST)
NEXT = replace(successor_of(AGREED), not_after=NOON + 5)


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def signed(tmp_path, contract, *keys):
    path = tmp_path / f"{contract.sequence}-{len(list(tmp_path.iterdir()))}.signed"
    path.write_bytes(sign_statement("contract", contract, keys))
    return path


def read(state, files):
    found = read_agreed(state, files)
    assert found is not None
    return found


def kept(state, tmp_path):
    agreed = read(state, [signed(tmp_path, AGREED, *KEYS.parties)])
    policy = trust_policy(FIRST, line=agreed.line)
    keep_agreed(state, agreed, policy, own=OWN, comment="written by a test")
    return agreed, policy


def test_a_folder_serves_its_own_contract_until_it_is_given_another(state, tmp_path):
    assert read_agreed(state, []) is None
    agreed, _ = kept(state, tmp_path)
    assert read(state, []) == agreed


def test_what_parties_signed_apart_is_one_contract_and_another_text_is_its_successor(state, tmp_path):
    files = [signed(tmp_path, AGREED, key) for key in KEYS.parties]
    agreed = read(state, [*files, signed(tmp_path, NEXT, KEYS.operator)])
    assert (agreed.line, agreed.last, len(agreed.entries)) == (AGREED.digest(), NEXT, 2)


def test_a_contract_that_one_party_did_not_sign_is_none(state, tmp_path):
    with pytest.raises(AmendmentRefused, match="not signed by operator"):
        read(state, [signed(tmp_path, AGREED, KEYS.model_owner)])


def test_the_last_contract_is_held_against_what_runs_and_every_misfit_is_said(state, tmp_path):
    require_fit(read(state, [signed(tmp_path, AGREED, *KEYS.parties)]), HERE, at=NOON)
    files = [signed(tmp_path, AGREED, *KEYS.parties), signed(tmp_path, NEXT, KEYS.operator)]
    with pytest.raises(ContractDoesNotFit, match=r"(?s)validity: holds .* it is .*; the parties put a successor"):
        require_fit(read(state, files), HERE, at=NOON + 5)


def test_the_client_of_this_machine_insists_on_it_and_forgets_only_the_line_of_before(state, tmp_path):
    state.trust_policy.write_text(format_trust_policy(OWN, comment="ours"))
    memory = MemoryFile(state.memory, genesis=OWN.constitution)
    seen = replace(first_contact(OWN.constitution), size=3, root=OTHER, epoch=2, cosigned_at=NOON, contract=OTHER)
    memory.store(seen)
    agreed, policy = kept(state, tmp_path)
    assert read_trust_policy(state.trust_policy) == policy
    assert policy.contract == agreed.line != OWN.contract
    with memory.locked() as remembered:
        assert remembered == replace(seen, epoch=0, contract=b"")


def test_a_trust_policy_that_a_person_wrote_is_not_replaced(state, tmp_path):
    own = format_trust_policy(replace(OWN, maximum_state_age_seconds=60), comment="mine")
    state.trust_policy.write_text(own)
    with pytest.raises(UsageError, match=AGREED.digest().hex()):
        kept(state, tmp_path)
    assert state.trust_policy.read_text() == own
    assert not state.agreed.exists()
