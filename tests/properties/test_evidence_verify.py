"""`cloister evidence verify` judges whatever bytes evidence and endorsements have, and takes no changed evidence."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.test_evidence_verify import CHALLENGE, PLATFORMS, ROOTS

from cloister.cli.evidence_judged import Asked, judge
from cloister.cli.evidence_read import read_vendor_evidence
from cloister.errors import Refused, UsageError
from cloister.formats.appraisal_policy import AppraisalPolicy, exceptions
from cloister.testing.world import NOON


def policy_of(platform):
    flags = dict.fromkeys(("UnsafeAllowOtherRoots", *exceptions(platform)))
    return AppraisalPolicy(unsafe=tuple(flags), roots=ROOTS, platforms=(platform,))


def judged(name, data, endorsements):
    platform = PLATFORMS[name][1]
    asked = Asked.of(challenge=CHALLENGE, report_data=None, anything=False, gpu_nonce=None)
    with tempfile.TemporaryDirectory() as folder:
        path, given = Path(folder, "file"), Path(folder, "given")
        path.write_bytes(data)
        given.mkdir()
        for file, content in endorsements.items():
            (given / file).write_bytes(content)
        return judge(policy_of(platform), read_vendor_evidence(path, chain=None, gpus=None), asked, given, (NOON, ()))


def changed(data, draw):
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]


@pytest.mark.parametrize("name", PLATFORMS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_changed_evidence_or_endorsements_are_judged_and_changed_evidence_is_refused(name, data):
    evidence, _, endorsements = PLATFORMS[name]
    which = data.draw(st.sampled_from(["evidence", *endorsements]))
    mutant = changed(evidence, data.draw) if which == "evidence" else evidence
    given = {file: changed(one, data.draw) if file == which else one for file, one in endorsements.items()}
    try:
        accepted = judged(name, mutant, given).accepted
    except (UsageError, Refused):
        return
    # JSON and configfs-tsm's envelope have bytes that say nothing: who made it, other spaces, certificates beside it.
    assert not (accepted and which == "evidence" and name in ("snp", "tdx", "nitro"))
