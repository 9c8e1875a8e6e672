"""IBM's form of sections: what is written is read as it was, and any bytes are parsed or refused as malformed."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.records import records
from tests.doubles.section_world import sample_section

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.hyper_protect import (
    EncryptedContract,
    EncryptedSection,
    format_encrypted_contract,
    parse_encrypted_contract,
    parse_token,
)
from cloister.formats.hyper_protect_section import (
    HyperProtectSection,
    format_hyper_protect_section,
    parse_hyper_protect_section,
)
from cloister.formats.section import Section
from cloister.formats.section_file import format_section_file, parse_section_file
from cloister.secret import SecretBytes

TOKENS = st.builds(
    lambda password, salt, blocks: EncryptedSection(password, salt, b"".join(blocks)),
    st.binary(min_size=256, max_size=300),
    st.binary(min_size=8, max_size=8),
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4),
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
TEXT = (
    "type: env\nlogging:\n  syslog: {}\nsigningKey: |\n  -----BEGIN\n  x\nenv:\n  A: 'it''s'\n  B: \"b\"\n  C: plain\n"
)


def refused(parse, data):
    try:
        parse(data)
    except (MalformedInput, TooLarge) as error:
        return str(error)
    return ""


@given(TOKENS)
def test_a_token_comes_back_as_it_was(section):
    assert parse_token(section.token()) == section


@given(TOKENS, TOKENS, st.binary(max_size=512))
def test_a_contract_comes_back_as_it_was(workload, env, signature):
    contract = EncryptedContract(workload.token(), env.token(), signature)
    assert parse_encrypted_contract(format_encrypted_contract(contract).encode()) == contract


@given(st.dictionaries(NAMES, VALUES, max_size=4), VALUES)
def test_variables_of_any_text_come_back_as_they_were(variables, key):
    section = HyperProtectSection("env", variables, key)
    assert parse_hyper_protect_section(format_hyper_protect_section(section)) == section


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
def test_what_is_written_has_no_line_or_character_that_yaml_reads_otherwise(variables):
    text = format_hyper_protect_section(HyperProtectSection("workload", variables, "")).reveal().decode()
    assert len(re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)) == len(variables) + 3
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ufeff]", text)


@settings(max_examples=200)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from("\"'#:{}[]&*!|>%@`\t \n\0x"))
def test_a_changed_text_is_read_or_refused_by_its_line(at, letter):
    changed = TEXT[:at] + letter + TEXT[at + 1 :]
    said = refused(parse_hyper_protect_section, SecretBytes(changed.encode()))
    assert not said or re.search(r"line \d+|a section's `type`", said)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_malformed(data):
    refused(parse_encrypted_contract, data)
    refused(parse_token, data.decode("latin-1"))
    refused(parse_hyper_protect_section, SecretBytes(data))
    refused(parse_hyper_protect_section, SecretBytes(b"type: env\nenv:\n  A: " + data))
    refused(parse_section_file, SecretBytes(data))


@settings(max_examples=50)
@given(records(Section))
def test_a_section_is_the_same_after_it_was_written_and_read(section):
    written = format_section_file(section, comment=lambda path: f"what {path[-1]!r} is\nfor")
    assert parse_section_file(written) == section


@pytest.mark.parametrize(
    ("line", "by", "said"),
    [
        ('kind = "workload"', 'kind = "model"', "line 1: kind: 'model' is none of"),
        ('kind = "workload"', "", "missing: kind"),
        ("[variables]", "[variable]", "a key that is not known"),
        ("WORKLOAD_TOKEN", "WORKLOAD-TOKEN", "line 4: variables"),
        ('"token of the workload"', "7", "line 4: variables"),
        ("[binary_files]", '[binary_files]\n"workload/settings.toml" = "00"', "both in text_files and in binary_files"),
        ("[binary_files]", '[binary_files]\nx = "0"', "binary_files"),
        ("workload/settings.toml", "../settings.toml", "text_files"),
    ],
)
def test_a_file_that_is_no_section_is_refused_by_its_line_and_no_value_is_repeated(line, by, said):
    text = format_section_file(sample_section("workload"), comment=lambda _: "").reveal().decode()
    assert line in text
    with pytest.raises(MalformedInput) as error:
        parse_section_file(SecretBytes(text.replace(line, by, 1).encode()))
    assert said in str(error.value)
    assert "token of" not in str(error.value)
