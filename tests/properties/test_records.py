"""Any bytes to any record of ours either parse or raise MalformedInput or TooLarge; what parses has one encoding."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.attestation_request import parse_attestation_demand, parse_attestation_request
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.custody import (
    parse_deposit,
    parse_deposited,
    parse_recovery,
    parse_retirement,
    parse_root,
    parse_rotation,
    parse_use,
)
from cloister.formats.custody_messages import parse_asset_reply, parse_asset_request, parse_intake, parse_intake_head
from cloister.formats.evidence import parse_evidence, parse_software_report
from cloister.formats.governance import parse_vote, parse_witnessed_time
from cloister.formats.handover import (
    parse_handed_over,
    parse_handover,
    parse_handover_reply,
    parse_handover_request,
)
from cloister.formats.key_bundle import parse_key_bundle, parse_state_head
from cloister.formats.model_registration import parse_model_registration
from cloister.formats.release import (
    parse_epoch,
    parse_kms_instance,
    parse_release,
    parse_release_reply,
    parse_release_request,
    parse_revocation,
)
from cloister.formats.response_receipt import parse_response_receipt, parse_stored_receipt
from cloister.formats.sealed_roots import parse_sealed_roots
from cloister.formats.statement import parse_statement
from cloister.formats.trust_policy import parse_trust_policy

PARSERS = [
    parse_asset_reply,
    parse_asset_request,
    parse_attestation_demand,
    parse_attestation_request,
    parse_constitution,
    parse_contract,
    parse_deposit,
    parse_deposited,
    parse_epoch,
    parse_evidence,
    parse_intake,
    parse_intake_head,
    parse_handed_over,
    parse_handover,
    parse_handover_reply,
    parse_handover_request,
    parse_key_bundle,
    parse_kms_instance,
    parse_model_registration,
    parse_recovery,
    parse_release,
    parse_release_reply,
    parse_release_request,
    parse_response_receipt,
    parse_retirement,
    parse_revocation,
    parse_root,
    parse_rotation,
    parse_sealed_roots,
    parse_software_report,
    parse_state_head,
    parse_statement,
    parse_stored_receipt,
    parse_trust_policy,
    parse_use,
    parse_vote,
    parse_witnessed_time,
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=300) | values.map(cbor2.dumps))
def test_any_bytes_either_parse_or_are_malformed(parse, data):
    try:
        parse(data)
    except (MalformedInput, TooLarge):
        return


@given(data=st.binary(max_size=64) | values.map(lambda value: cbor2.dumps(value, canonical=True)))
def test_what_parses_is_its_one_encoding(data):
    try:
        value = canonical.plain(data, limit=10_000)
    except MalformedInput:
        return
    assert cbor2.dumps(value, canonical=True) == data


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
def test_nothing_over_the_cap_is_parsed(parse):
    with pytest.raises(TooLarge):
        parse(bytes(9 * 1024 * 1024))
