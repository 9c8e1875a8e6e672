"""Node manifests: what one may say, and what makes no sense. Each test changes one thing."""

import tomllib

import msgspec
import pytest
from tests.doubles.node_manifests import MANIFEST_FILE, sample_manifest, sample_node

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.node_manifest import (
    MAXIMUM_MANIFEST,
    MAXIMUM_REVISIONS,
    SentRevisions,
    parse_node_manifest,
    parse_sent_revisions,
)
from cloister.formats.node_manifest_file import parse_manifest_file, settings_text

replace = msgspec.structs.replace


def parsed(manifest):
    return parse_node_manifest(canonical.encode(manifest))


def test_a_manifest_comes_back_as_it_was_and_its_digest_is_of_all_of_it():
    manifest = sample_manifest()
    assert parsed(manifest) == manifest
    assert manifest.digest() != replace(manifest, number=2, previous=bytes(32)).digest()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"previous": bytes(32)}, "number 1 has no previous revision"),
        ({"number": 2}, "every other names its digest of 32 bytes"),
        ({"number": 2, "previous": bytes(31)}, "every other names its digest of 32 bytes"),
        ({"restores": 1}, "revision 1 restores revision 1, which is no older one"),
        ({"nodes": (sample_node(), sample_node(ports=(1,)))}, "two nodes are named watcher"),
        ({"nodes": (sample_node(), sample_node(name="other"))}, "port 7101 of alpha is given twice"),
        ({"nodes": (sample_node(replicas=3),)}, "node watcher: 3 replicas need as many ports, and it has 2"),
        ({"nodes": (sample_node(health_ports=(1, 2)),)}, "none for any other role"),
        ({"nodes": (sample_node(role="relay"),)}, "health_ports has one for each of ports"),
        ({"nodes": (sample_node(workload=bytes(48)),)}, "only a kms or a gateway is measured"),
        ({"nodes": (sample_node(role="gateway", workload=bytes(47)),)}, "workload has 48 bytes, or none"),
        ({"nodes": (sample_node(settings="folder ="),)}, "settings are not TOML"),
        ({"nodes": (sample_node(settings="port = 1\n"),)}, "settings have port, which comes from the manifest's own"),
        ({"nodes": (sample_node(settings='ready = "/x"\n'),)}, "settings have ready"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_in_words(changed, sentence):
    with pytest.raises(MalformedInput, match=sentence):
        parsed(sample_manifest(**changed))


@pytest.mark.parametrize(
    "node",
    [
        sample_node(name="../etc"),
        sample_node(name="Upper"),
        sample_node(role="deployment"),
        sample_node(role="sh"),
        sample_node(ports=(0, 1)),
        sample_node(replicas=17),
        sample_node(ready_seconds=0),
        sample_node(drain_seconds=3601),
        sample_node(host="a/b"),
        sample_node(settings="x = 1 # \0"),
        sample_node(settings="#" * 70_000),
    ],
    ids=["path", "case", "role", "program", "port", "replicas", "ready", "drain", "host", "nul", "long"],
)
def test_a_node_is_of_its_types_alone(node):
    with pytest.raises(MalformedInput):
        parsed(sample_manifest(node))


def test_over_its_cap_nothing_is_parsed():
    with pytest.raises(TooLarge):
        parse_node_manifest(bytes(MAXIMUM_MANIFEST + 1))


def test_two_machines_may_have_the_same_ports():
    both = (sample_node(), sample_node(name="other", machine="beta"))
    assert parsed(sample_manifest(*both)).of("beta") == both[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "x = 1\n"},
        {"generation": 1},
        {"role": "gateway"},
        {"host": "h"},
        {"drain_seconds": 6},
        {"name": "other"},
    ],
    ids=str,
)
def test_what_a_process_depends_on_makes_another_spec(change):
    assert sample_node(**change).spec() != sample_node().spec()


@pytest.mark.parametrize("change", [{"replicas": 0}, {"ports": (1,)}, {"ready_seconds": 9}], ids=str)
def test_what_no_process_depends_on_leaves_the_spec(change):
    assert sample_node(**change).spec() == sample_node().spec()


def test_a_relay_tells_on_the_port_beside_its_own():
    assert sample_node(role="relay", health_ports=(8101, 8111)).health_port(7111) == 8111
    assert sample_node().health_port(7111) == 7111


def test_a_request_has_so_many_revisions_and_no_more():
    few = SentRevisions(revisions=(b"x",))
    assert parse_sent_revisions(canonical.encode(few)) == (b"x",)
    for wrong in (SentRevisions(revisions=()), SentRevisions(revisions=(b"x",) * (MAXIMUM_REVISIONS + 1))):
        with pytest.raises(MalformedInput):
            parse_sent_revisions(canonical.encode(wrong))


# As an operator writes it.


def test_the_settings_of_a_file_are_those_that_a_service_would_read():
    watcher, gate = parse_manifest_file(MANIFEST_FILE.encode()).nodes
    assert tomllib.loads(settings_text(watcher)) == watcher.settings
    assert watcher.node(settings_text(watcher)).ports == (7101, 7111)
    assert (gate.settings, gate.workload) == ("gateway.toml", b"\xab" * 48)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("generation = 0\n", "", r"line 3: nodes\[0\]: missing: generation; no key has a default"),
        ("host =", "hots =", r"line 10: nodes\[0\].hots: a key that is not known"),
        ('"witness"', '"witnes"', r"line 6: nodes\[0\].role: 'witnes' is none of: gateway, kms"),
        ("replicas = 1", "replicas = 99", r"line 7: nodes\[0\].replicas: Expected"),
        ("logs = []", "logs = 12:00:00", "node watcher: settings hold a value that no setting has"),
        ('settings = "gateway.toml"', "settings = 3", "node gate: settings are a table, or the path of a file"),
        ("[[nodes]]", "[[nodes", "not a node manifest"),
    ],
    ids=["missing", "unknown", "role", "number", "value", "settings", "toml"],
)
def test_a_wrong_file_is_told_by_key_and_line(old, new, sentence):
    with pytest.raises(MalformedInput, match=sentence):
        parse_manifest_file(MANIFEST_FILE.replace(old, new, 1).encode())


def test_settings_that_are_too_long_are_named_with_their_node():
    watcher = parse_manifest_file(MANIFEST_FILE.encode()).nodes[0]
    with pytest.raises(MalformedInput, match="node watcher: "):
        watcher.node("#" * 70_000)
