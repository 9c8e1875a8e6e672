"""Sealed models on the command line: contracts take one by its artifact, a key is a key, and every refusal says why."""

import json

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from tests.doubles.sealed_models import KEY, sealed_model
from tests.unit.cli.test_local_terms import KEYS, NOON, found

from cloister.cli import main
from cloister.cli.local.served_model import require_served
from cloister.cli.local.settings import LocalSettings
from cloister.cli.local.terms import first_terms, sign_genesis
from cloister.cli.state_folder import StateFolder
from cloister.contract.task_assets import ModelRefused
from cloister.crypto.elliptic_key import EllipticKey
from cloister.errors import CloisterError, MalformedInput, UsageError
from cloister.formats.contract_file import parse_contract_file
from cloister.formats.ledger_messages import encode_list
from cloister.sealing.artifact import open_artifact
from cloister.sealing.refusal import ArtifactRefused
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_model_key
from cloister.testing.world import World


@pytest.fixture
def cloister(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        found = CliRunner().invoke(main.cli, [*map(str, arguments)])
        if isinstance(found.exception, CloisterError):
            raise found.exception
        assert found.exit_code == 0, found.output
        return found.output

    return run


@pytest.fixture
def contract(cloister, tmp_path):
    """A contract that names the sealed model in `sealed`."""
    sealed_model(tmp_path)
    cloister("contract", "party", "Models Ltd", "--duty", "model-owner", "--duty", "operator", "--folder", "vendor")
    (tmp_path / "constitution.entries").write_bytes(encode_list([World().log.entries[0]]))
    options = ("--party", "vendor/party.toml", "--constitution", "constitution.entries", "--model", "sealed")
    path = tmp_path / "contract.toml"
    path.write_text(cloister("contract", "new", *options))
    return path


def test_a_new_contract_names_the_sealed_model_and_grants_it_to_its_task(contract, tmp_path):
    written = parse_contract_file(contract.read_bytes())
    (model,) = written.granted("serve", "model")
    assert (model.name, model.digest) == ("tiny", open_artifact(tmp_path / "sealed").digest)


def test_a_contract_is_checked_for_the_sealed_model_that_its_task_may_use(cloister, contract, tmp_path):
    said = json.loads(cloister("contract", "check", contract, "--model", "sealed", "--json"))
    assert not [one for one in said["open"] if "model" in one]
    other = sealed_model(tmp_path / "other", weights=b"others")
    with pytest.raises(
        ModelRefused, match=r"model\.asset: the contract grants serve tiny .*; the sealed model here is"
    ):
        cloister("contract", "check", contract, "--model", other)


def test_a_models_key_is_32_bytes_and_nothing_else(tmp_path):
    path = tmp_path / "model.key"
    path.touch(mode=0o600)
    path.write_bytes(KEY)
    assert read_model_key(path) == SecretBytes(KEY)
    for wrong in (b"", KEY[1:], KEY + b"\n"):
        path.write_bytes(wrong)
        with pytest.raises(UsageError, match="is no model's key: it has 32 bytes"):
            read_model_key(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_model_key(tmp_path / "none")


def test_a_key_file_that_is_no_key_is_named_with_what_is_expected(cloister, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "weights.bin").write_bytes(b"weights")
    pem = tmp_path / "owner.pem"
    pem.touch(mode=0o600)
    pem.write_text("nothing")
    with pytest.raises(
        MalformedInput, match=r"^owner\.pem: expected the private key of who signs the model: not a priv"
    ):
        cloister("model", "sign", "plain", "--key", "owner.pem")
    with pytest.raises(MalformedInput, match=r"^owner\.pem: not a public key in PEM; expected the public key of who"):
        cloister("model", "verify", "plain", "--signer", "owner.pem", "--signature", "owner.pem")
    pem.write_bytes(EllipticKey(ec.generate_private_key(ec.SECP256R1())).public.pem())
    pem.chmod(0o644)
    with pytest.raises(MalformedInput, match=r"expected the private key .*, and this is a public key"):
        cloister("model", "sign", "plain", "--key", "owner.pem")


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("transformer", r"did you mean transformers\? \(cloister engine list"),
        ("upstream", r"an upstream is named by its folder, --engine \./FOLDER"),
        ("telepathy", r"no folder of an upstream server \(cloister engine list"),
    ],
)
def test_an_engine_that_is_none_is_answered_with_the_one_that_was_meant(tmp_path, engine, says):
    with pytest.raises(click.UsageError, match=says):
        main.cli.main(["serve", str(tmp_path), "--engine", engine], standalone_mode=False)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_models_key_that_others_may_read_is_refused(mode, tmp_path):
    path = tmp_path / "model.key"
    path.write_bytes(KEY)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"readable by others \\(mode {mode:o}\\); make it 600"):
        read_model_key(path)


def test_a_key_without_a_model_starts_nothing(cloister, tmp_path):
    (tmp_path / "model.key").write_bytes(KEY)
    with pytest.raises(UsageError, match="--model-key is the key of a sealed model, and there is none"):
        cloister("up", "--model-key", "model.key", "--state", tmp_path / "state")


@pytest.fixture
def serve(cloister, tmp_path):
    """Serve the sealed model on a state folder that has nothing; the key's file holds these bytes, or there is none."""

    def run(artifact, key=None, *options):
        if key is not None:
            (tmp_path / "given.key").touch(mode=0o600)
            (tmp_path / "given.key").write_bytes(key)
            options += ("--model-key", "given.key")
        cloister("serve", artifact, "--engine", "transformers", "--state", tmp_path / "state", *options)

    return run


@pytest.mark.parametrize("artifact", ["plain", "nowhere"])
def test_what_is_no_artifact_is_not_served(serve, tmp_path, artifact):
    sealed_model(tmp_path)
    with pytest.raises(UsageError, match=f"{artifact} is no sealed artifact: .*; cloister model seal makes one"):
        serve(artifact)


def test_an_artifact_that_was_cut_is_named_with_what_to_do(cloister, tmp_path):
    header = sealed_model(tmp_path) / "artifact.cbor"
    header.write_bytes(header.read_bytes()[:-1])
    with pytest.raises(MalformedInput, match=r"sealed/artifact\.cbor is cut or damaged, copy it again: not CBOR"):
        cloister("model", "inspect", "sealed")


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_the_key_of_another_model_is_refused_before_anything_is_made(serve, tmp_path, detach):
    with pytest.raises(ArtifactRefused, match=r"artifact\.key: this key is another artifact's"):
        serve(sealed_model(tmp_path), KEY[::-1], *detach)
    assert not (tmp_path / "state").exists()


def test_a_model_whose_key_was_never_given_is_refused_before_anything_is_made(serve, tmp_path):
    artifact = sealed_model(tmp_path)
    with pytest.raises(UsageError, match=r"never given the key of tiny: --model-key FILE \(cloister model seal wrote"):
        serve(artifact)
    (tmp_path / "sealed.key").write_bytes(KEY)
    with pytest.raises(UsageError, match=r"--model-key FILE \(.*/sealed\.key lies beside it\)"):
        serve(artifact)
    assert not (tmp_path / "state").exists()


def test_a_model_that_a_contract_of_this_system_had_needs_no_key_again(tmp_path):
    artifact = sealed_model(tmp_path, file="model.safetensors")
    state, settings = StateFolder(tmp_path / "state"), LocalSettings("transformers", artifact)
    state.prepare()
    was = found(engine="transformers", sealed="tiny")
    signed = first_terms(KEYS, was, sign_genesis(KEYS, was), at=NOON)
    state.constitutions.write_bytes(encode_list(signed.constitutions))
    state.contracts.write_bytes(encode_list(signed.contracts))
    require_served(state, settings, None, of_parties=False)


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("transformers", r"which needs config\.json, \*\.safetensors: \*\.safetensors is missing"),
        ("whisper", r"which needs model\.bin, config\.json, tokenizer\.json: model\.bin is missing"),
    ],
)
def test_a_model_without_a_file_that_its_engine_needs_is_refused_before_anything_is_made(serve, tmp_path, engine, says):
    artifact = sealed_model(tmp_path)
    with pytest.raises(UsageError, match=says):
        serve(artifact, KEY, "--engine", engine)
    assert not (tmp_path / "state").exists()


def test_a_contract_of_several_parties_takes_its_key_from_the_owner(serve, tmp_path):
    artifact = sealed_model(tmp_path)
    with pytest.raises(UsageError, match="the model's owner deposits its key as a party"):
        serve(artifact, KEY, "--contract", "theirs")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("up", "--engine", "transformers"), "computes with a model of yours, and none is named: --model ARTIFACT"),
        (("up", "--model", "sealed"), "the engine speech takes no model: name none, or choose the engine"),
        (("serve", "sealed", "--engine", "echo"), "the engine echo takes no model: name none, or choose the engine"),
    ],
)
def test_an_engine_and_a_model_that_do_not_go_together_are_refused_before_anything_is_made(
    cloister, tmp_path, command, says
):
    sealed_model(tmp_path)
    with pytest.raises(UsageError, match=says):
        cloister(*command, "--state", tmp_path / "state")
    assert not (tmp_path / "state").exists()
