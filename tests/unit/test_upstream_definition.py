"""The definition of an upstream: strict, with every key, and what could not be started refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.upstreams import GOOD, definition, written

from cloister.engines.upstream_dialects import endpoints
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.upstream import MAXIMUM_BYTES, parse_upstream

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "upstreams").glob("*.toml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_a_definition_whose_paths_its_dialect_has(example):
    known = parse_upstream(example.read_bytes())
    assert set(known.paths) <= {path for _, path in endpoints(known.dialect, ())}


def test_a_definition_is_read():
    assert definition().models == ("m", "org/m")


@pytest.mark.parametrize("key", GOOD)
def test_every_key_stands_there(key):
    lines = written().split("\n")
    without = "\n".join(line for line in lines if not line.startswith((f"{key} =", f"[{key}]")))
    with pytest.raises(MalformedInput):
        parse_upstream(without.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"dialect": "grpc"},
        {"listens": "udp"},
        {"command": []},
        {"command": ["{folder}/serve"]},
        {"command": ["{folder}/serve", "{port}"]},
        {"command": ["{folder}/serve", "{socket}", "{home}"]},
        {"environment": {"A B": "c"}},
        {"environment": {"LD_PRELOAD": "a\0b"}},
        {"models": []},
        {"models": ["m", "m"]},
        {"models": ["../m"]},
        {"paths": ["chat"]},
        {"prompt_cache": "shared"},
        {"transcription_formats": ["text"]},
        {"transcription_formats": ["mp3"]},
        {"at_once": 0},
        {"answer_mib": 33},
        {"ready_seconds": 0},
        {"memory_mib": 0},
        {"another": 1},
    ],
)
def test_what_could_not_be_meant_is_refused(change):
    with pytest.raises(MalformedInput):
        definition(**change)


def test_braces_that_are_no_placeholders_stay():
    known = definition(command=["{folder}/serve", "{socket}", '{"a": {"b": 1}}'])
    filled = [known.filled(word, {"socket": "/s", "folder": "/f"}) for word in known.command]
    assert filled == ["/f/serve", "/s", '{"a": {"b": 1}}']


@pytest.mark.parametrize("program", ["/usr/bin/perl", "serve", "{folder}", "{model}/serve"])
def test_a_program_that_no_digest_names_is_refused(program):
    with pytest.raises(MalformedInput, match="not measured"):
        definition(command=[program, "{socket}"])


def test_it_has_a_cap():
    with pytest.raises(TooLarge):
        parse_upstream(b"#" * (MAXIMUM_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_malformed(data):
    with pytest.raises(MalformedInput):
        parse_upstream(data)
