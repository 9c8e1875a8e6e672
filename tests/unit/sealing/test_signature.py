"""A model's signature holds for the model and the signer that it names, and for no other."""

import base64
import hashlib
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.doubles.plain_models import MANIFEST, OWNER, SIGNATURE, SMALL, STRANGER, Watched, write_model

from cloister.crypto.elliptic_key import EllipticKey, EllipticPublicKey
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.model_manifest import SHARD, ModelFile, ModelManifest, shard_count
from cloister.formats.model_signature import manifest_of as manifest_of_statement
from cloister.formats.model_signature import parse_signature, parse_signed_model
from cloister.sealing.artifact import seal_folder
from cloister.sealing.hashing import manifest_of
from cloister.sealing.plain_folder import read_folder
from cloister.sealing.refusal import ArtifactRefused
from cloister.sealing.signature import examine_signed, require_signed, sign_model
from cloister.secret import SecretBytes

replace = msgspec.structs.replace
EMPTY = ModelFile(path="z.jinja", size=0, shards=b"")


def with_file(**fields):
    first, *others = MANIFEST.files
    return replace(MANIFEST, files=(replace(first, **fields), *others))


def signed_by(key, payload):
    """A bundle over any payload, as its key's owner could make it."""
    bundle = json.loads(SIGNATURE)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    found = parse_signature(json.dumps(bundle).encode())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(key.sign(found.signed)).decode()
    return json.dumps(bundle).encode()


def test_a_signature_holds_over_its_model():
    require_signed(MANIFEST, SIGNATURE, OWNER.public)


def test_a_key_on_p384_signs_too():
    key = EllipticKey(ec.generate_private_key(ec.SECP384R1()))
    require_signed(MANIFEST, sign_model(MANIFEST, key, ignored=[]), key.public)


sizes = st.one_of(st.integers(1, 100), st.integers(SHARD - 1, 3 * SHARD + 1))


@given(st.dictionaries(st.sampled_from(["a", "a.b", "a/b", "Z", "c/d.bin", "c/d/e"]), sizes, min_size=1))
def test_a_statement_tells_the_whole_manifest(files):
    made = [ModelFile(path=path, size=size, shards=bytes(32) * shard_count(size)) for path, size in files.items()]
    try:
        manifest = ModelManifest(name="a", files=tuple(sorted(made, key=lambda file: file.path)))
    except MalformedInput:
        assume(False)
    signed = parse_signed_model(parse_signature(sign_model(manifest, OWNER, ignored=[])).payload)
    assert manifest_of_statement(signed) == manifest


@pytest.mark.parametrize(
    "names",
    [
        ["a"],
        ["a:0"],
        [":0:1"],
        ["../a:0:1"],
        ["a:1:2"],
        ["a:0:0"],
        ["a:00:1"],
        [f"a:0:{SHARD + 1}"],
        [f"a:{SHARD}:{SHARD + 1}"],
        ["a:0:4398046511104"],
        ["a:0:9999999999999"],
        ["a:0:1", "a:0:1"],
        ["a:0:1", "a/b:0:1"],
        [],
    ],
)
def test_a_statement_that_is_over_no_model_is_refused(names):
    resources = [{"name": name, "algorithm": "sha256", "digest": bytes(32).hex()} for name in names]
    payload = json.loads(parse_signature(SIGNATURE).payload)
    payload["predicate"]["resources"] = resources
    payload["subject"][0]["digest"]["sha256"] = hashlib.sha256(bytes(32 * len(names))).hexdigest()
    bundle = signed_by(OWNER, json.dumps(payload).encode())
    examined = examine_signed([MANIFEST.digest()], bundle, OWNER.public)
    assert examined.failed == ["artifact.signed"]


def test_a_signature_is_held_against_the_digest_that_a_receipt_names():
    assert examine_signed([bytes(32), MANIFEST.digest()], SIGNATURE, OWNER.public).require() == MANIFEST
    other = examine_signed([bytes(32)], SIGNATURE, OWNER.public)
    with pytest.raises(
        ArtifactRefused, match=rf"artifact\.signed: it is over a with the digest {MANIFEST.digest().hex()}"
    ):
        other.require()
    assert examine_signed([], SIGNATURE, OWNER.public).failed == ["artifact.signed"]
    assert examine_signed([MANIFEST.digest()], SIGNATURE, STRANGER.public).failed == ["artifact.signature"]


@pytest.mark.breaks("artifact.signature")
def test_a_strangers_signature_is_refused():
    stranger = EllipticKey(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ArtifactRefused, match=r"artifact\.signature.*another one"):
        require_signed(MANIFEST, sign_model(MANIFEST, stranger, ignored=[]), OWNER.public)


def test_a_statement_that_was_altered_is_refused():
    bundle = json.loads(SIGNATURE)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"a"', b'"b"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(ArtifactRefused, match=r"artifact\.signature.*does not hold"):
        require_signed(MANIFEST, json.dumps(bundle).encode(), OWNER.public)


@pytest.mark.breaks("artifact.signed")
@pytest.mark.parametrize("change", [{"path": "b/d.bin"}, {"size": 8}, {"shards": b"\1" * 32}])
def test_a_signature_over_another_model_is_refused(change):
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed"):
        require_signed(with_file(**change), SIGNATURE, OWNER.public)


@pytest.mark.breaks("artifact.signed")
def test_a_model_by_another_name_is_not_the_one_that_was_signed():
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed.*called 'a', and this one is called 'renamed'"):
        require_signed(replace(MANIFEST, name="renamed"), SIGNATURE, OWNER.public)


@pytest.mark.breaks("artifact.signed")
def test_an_empty_file_beside_what_was_signed_is_refused():
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed: z\.jinja is empty"):
        require_signed(replace(MANIFEST, files=(*MANIFEST.files, EMPTY)), SIGNATURE, OWNER.public)


def test_a_model_with_an_empty_file_is_not_signed():
    with pytest.raises(UsageError, match=r"z\.jinja is empty.*remove it"):
        sign_model(replace(MANIFEST, files=(*MANIFEST.files, EMPTY)), OWNER, ignored=[])


def test_a_signature_over_whole_files_says_so():
    payload = parse_signature(SIGNATURE).payload.replace(b'"shards"', b'"files"')
    with pytest.raises(ArtifactRefused, match="it is over files by sha256"):
        require_signed(MANIFEST, signed_by(OWNER, payload), OWNER.public)


def test_a_statement_at_odds_with_itself_is_malformed():
    payload = parse_signature(SIGNATURE).payload.replace(b"b/c.bin:0:9", b"b/c.bin:0:9")
    root = parse_signed_model(payload).subject[0].digest.sha256.encode()
    with pytest.raises(MalformedInput, match="digest is not that of its resources"):
        require_signed(MANIFEST, signed_by(OWNER, payload.replace(root, b"0" * 64)), OWNER.public)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(pem):
    with pytest.raises(MalformedInput):
        EllipticPublicKey.from_pem(pem)
    with pytest.raises(MalformedInput):
        EllipticKey.from_pem(SecretBytes(pem))


def test_a_key_on_another_curve_is_refused():
    with pytest.raises(MalformedInput, match="secp256k1"):
        EllipticKey(ec.generate_private_key(ec.SECP256K1()))


@given(st.binary(max_size=200), st.data())
def test_any_bytes_are_a_signature_or_refused(data, chance):
    at = chance.draw(st.integers(0, len(SIGNATURE) - 1))
    for given_bytes in (data, SIGNATURE[:at] + data + SIGNATURE[at + len(data) :]):
        for parse in (parse_signature, parse_signed_model):
            try:
                parse(given_bytes)
            except (MalformedInput, TooLarge):
                continue


def test_a_plain_folder_has_the_manifest_that_sealing_gives_it(tmp_path):
    plain, watched = write_model(tmp_path / "plain", SMALL), Watched()
    key = SecretBytes(bytes(32))
    sealed = seal_folder(plain, tmp_path / "sealed", name="one", key=key, progress=watched)
    assert manifest_of(read_folder(plain), "one", watched.advanced) == sealed


def test_a_file_that_changes_while_it_is_hashed_is_refused(tmp_path):
    folder = read_folder(write_model(tmp_path / "plain", SMALL))
    with pytest.raises(UsageError, match="changed meanwhile"):
        manifest_of(folder, "one", lambda _: (tmp_path / "plain/model.safetensors").write_bytes(b""))
