"""Appraisal policies as files: written and read again they are the same, and any bytes are one or malformed."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.records import records

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.appraisal_policy import AppraisalPolicy, Platform, VendorRoots, exceptions
from cloister.formats.appraisal_policy_file import format_appraisal_policy, no_comment, parse_appraisal_policy
from cloister.formats.toml_text import line_of

PLATFORMS = st.lists(st.one_of(*map(records, Platform.__args__)), unique_by=type, max_size=3).map(tuple)


@st.composite
def policies(draw):
    platforms = draw(PLATFORMS)
    roots = draw(st.just("vendors") | records(VendorRoots))
    named = dict.fromkeys(flag for platform in platforms for flag in exceptions(platform))
    return AppraisalPolicy(unsafe=("UnsafeAllowOtherRoots", *named), roots=roots, platforms=platforms)


@settings(max_examples=60)
@given(policies(), st.booleans())
def test_a_policy_is_the_same_after_it_was_written_and_read(policy, commented):
    comment = (lambda path: f"what {path[-1]!r} is\nfor") if commented else no_comment
    assert parse_appraisal_policy(format_appraisal_policy(policy, comment=comment).encode()) == policy


@settings(max_examples=60)
@given(policies(), st.data())
def test_a_changed_file_is_a_policy_or_names_a_line_of_it(policy, data):
    text = format_appraisal_policy(policy, comment=no_comment)
    lines = text.splitlines()
    del lines[data.draw(st.sampled_from([at for at, line in enumerate(lines) if line]))]
    try:
        assert parse_appraisal_policy("\n".join(lines).encode()) != policy
    except MalformedInput as error:
        sentence = str(error)
    else:
        return
    assert re.search(r"line \d+|at end of document", sentence), sentence


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_malformed(data):
    try:
        parse_appraisal_policy(data)
    except (MalformedInput, TooLarge):
        return


@given(st.text(max_size=200), st.lists(st.text(max_size=5) | st.integers(0, 3), max_size=4))
def test_any_text_has_some_line_for_any_path(text, path):
    assert 1 <= line_of(text, path) <= max(len(text.splitlines()), 1)
