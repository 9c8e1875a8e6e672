"""`cloister model` as an owner runs it, and as whoever stores an artifact does."""

import json
import os
import stat

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.doubles.plain_models import SMALL, write_model

from cloister.cli import main
from cloister.errors import CloisterError, UsageError
from cloister.formats.sealed_artifact import parse_header
from cloister.sealing import artifact as sealing
from cloister.sealing.refusal import ArtifactRefused


def command(*words):
    found = CliRunner().invoke(main.cli, ["model", *map(str, words)])
    if isinstance(found.exception, CloisterError):
        raise found.exception
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


def keys(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "owner.pem", folder / "owner.pub.pem"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "llama", SMALL)


@pytest.fixture
def sealed(model, tmp_path):
    command("seal", model, "-o", tmp_path / "sealed")
    return tmp_path / "sealed"


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_model_is_sealed_inspected_verified_and_unsealed(model, tmp_path):
    said = json.loads(command("seal", model, "-o", tmp_path / "sealed", "--json"))
    key = tmp_path / "sealed.key"
    assert (said["name"], said["files"], said["key"]) == ("llama", len(SMALL), str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    inspected = json.loads(command("inspect", tmp_path / "sealed", "--json"))
    assert (inspected["digest"], inspected["signed"]) == (said["digest"], False)
    verified = json.loads(command("verify", tmp_path / "sealed", "--key", key, "--json"))
    assert verified["checked"] == ["the lengths of all files", "the header", "every byte"]
    command("unseal", tmp_path / "sealed", "-o", tmp_path / "back", "--key", key)
    assert contents(tmp_path / "back") == SMALL
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "back").rglob("*")}
    assert modes == {0o600, 0o700}


def test_without_a_key_it_is_said_what_was_not_checked(sealed):
    assert "not checked: every byte, who signed it" in command("verify", sealed)
    assert "config.json" in command("inspect", sealed)


def test_a_signature_goes_along_and_is_verified_sealed_and_plain(model, tmp_path):
    private, public = keys(tmp_path)
    (model / ".cache").mkdir()
    with pytest.raises(UsageError, match=r"empty\.txt is empty"):
        command("sign", model, "--key", private)
    (model / "empty.txt").unlink()
    command("sign", model, "--key", private)
    command("seal", model, "-o", tmp_path / "sealed")
    for place in (tmp_path / "sealed", model):
        assert "the signature" in command("verify", place, "--signer", public)
    command("unseal", tmp_path / "sealed", "-o", tmp_path / "back", "--key", tmp_path / "sealed.key")
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed.*called 'back' \(a folder's: see --name\)"):
        command("verify", tmp_path / "back", "--signer", public)
    assert "the signature" in command("verify", tmp_path / "back", "--name", "llama", "--signer", public)
    (model / "config.json").write_bytes(b"{}")
    with pytest.raises(ArtifactRefused, match=r"artifact\.signed: config\.json"):
        command("verify", model, "--signer", public)


@pytest.mark.parametrize(
    ("put", "says"), [(os.mkfifo, "no plain file"), (lambda place: place.symlink_to("/dev/zero"), "cannot be read")]
)
def test_a_pipe_or_link_in_the_place_of_the_signature_is_refused_and_not_waited_for(sealed, tmp_path, put, says):
    _, public = keys(tmp_path)
    put(sealed / "model.sig")
    with pytest.raises(UsageError, match=rf"model\.sig.*{says}"):
        command("verify", sealed, "--signer", public)


def test_a_model_without_a_signature_is_not_taken_for_signed(sealed, tmp_path):
    _, public = keys(tmp_path)
    with pytest.raises(UsageError, match=r"has no model\.sig: name the signature with --signature FILE"):
        command("verify", sealed, "--signer", public)


def test_a_bit_flipped_is_found_with_the_key(sealed, tmp_path):
    file = sealed / "files" / "00002.sealed"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for verb, *more in (("verify",), ("unseal", "-o", tmp_path / "back")):
        with pytest.raises(ArtifactRefused, match=r"artifact\.segment"):
            command(verb, sealed, "--key", tmp_path / "sealed.key", *more)
    assert not any(tmp_path.glob("*back*/*")), "nothing of a model that was refused is left"


def test_nothing_is_written_over(sealed, model, tmp_path):
    with pytest.raises(UsageError, match="whole artifact already"):
        command("seal", model, "-o", sealed)
    with pytest.raises(UsageError, match="holds something"):
        command("unseal", sealed, "-o", model, "--key", tmp_path / "sealed.key")
    with pytest.raises(UsageError, match=r"sealed\.key is there already, and may be of another artifact"):
        command("seal", model, "-o", tmp_path / "other", "--key-out", tmp_path / "sealed.key")


def test_a_key_that_others_may_read_is_refused(sealed, tmp_path):
    (tmp_path / "sealed.key").chmod(0o644)
    with pytest.raises(UsageError, match="readable by others"):
        command("verify", sealed, "--key", tmp_path / "sealed.key")


def test_a_key_of_another_length_is_named(sealed, tmp_path):
    (tmp_path / "sealed.key").write_bytes(b"short")
    with pytest.raises(UsageError, match="no model's key: it has 32 bytes"):
        command("verify", sealed, "--key", tmp_path / "sealed.key")


def test_an_interrupted_run_goes_on_with_its_key(model, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cloister.cli.model_options.ModelProgress.advanced", stop)
        ended = CliRunner().invoke(main.cli, ["model", "seal", str(model), "-o", str(tmp_path / "sealed")])
    assert ended.exit_code != 0
    key = (tmp_path / "sealed.key").read_bytes()
    command("seal", model, "-o", tmp_path / "sealed")
    assert (tmp_path / "sealed.key").read_bytes() == key
    command("verify", tmp_path / "sealed", "--key", tmp_path / "sealed.key")


def test_a_place_without_a_name_is_no_traceback(model, sealed, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = json.loads(command("seal", model, "-o", ".", "--json"))
    assert said["key"] == str(tmp_path / "here.key")
    with pytest.raises(UsageError, match=r"^/ is no place for an artifact: name a folder to make$"):
        command("seal", model, "-o", "/")
    (tmp_path / "back").mkdir()
    monkeypatch.chdir(tmp_path / "back")
    command("unseal", sealed, "-o", ".", "--key", tmp_path / "sealed.key")
    assert contents(tmp_path / "back") == contents(model)


def test_a_folder_that_is_no_model_leaves_no_key_behind(model, tmp_path):
    (model / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="link is a symbolic link"):
        command("seal", model, "-o", tmp_path / "sealed")
    assert not (tmp_path / "sealed.key").exists()


def test_a_plain_folder_without_a_signer_is_not_taken_for_checked(model):
    with pytest.raises(UsageError, match="is checked with --signer"):
        command("verify", model)


def test_a_manifest_under_another_key_is_refused_by_the_header(sealed, tmp_path):
    _, manifest = parse_header((sealed / "artifact.cbor").read_bytes())
    place = sealed / "artifact.cbor"
    place.write_bytes(place.read_bytes().replace(b"llama", b"Llama"))
    assert sealing.open_artifact(sealed).digest != manifest.digest()
    with pytest.raises(ArtifactRefused, match=r"artifact\.header"):
        command("verify", sealed, "--key", tmp_path / "sealed.key")
