"""OpenSSF's model-signing verifies what we sign over a folder, ours what it signs; both refuse what is altered."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.doubles.client_environments import NotInstalled, python_environment
from tests.doubles.plain_models import SMALL, large, write_model

from cloister.crypto.elliptic_key import EllipticKey
from cloister.sealing.hashing import manifest_of
from cloister.sealing.plain_folder import read_folder
from cloister.sealing.refusal import ArtifactRefused
from cloister.sealing.signature import require_signed, sign_model

VERIFY = """
import sys, model_signing
model, *signed = sys.argv[1:]
for public, signature in zip(signed[::2], signed[1::2]):
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(model, signature)
"""
SIGN = """
import sys, model_signing
hashing = model_signing.hashing.Config().use_shard_serialization(shard_size=64 << 20)
model_signing.signing.Config().use_elliptic_key_signer(private_key=sys.argv[1]).set_hashing_config(hashing).sign(
    sys.argv[2], sys.argv[3])
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Runs a program in an environment of model-signing's own: it has other versions of what we use."""
    folder = tmp_path_factory.mktemp("model-signing")
    made = asyncio.run(python_environment(folder / "env", "model-signing==1.1.1", "pyopenssl"))
    if isinstance(made, NotInstalled):
        pytest.skip(made.reason)

    async def run(program, *arguments):
        process = await asyncio.create_subprocess_exec(
            made.program, "-c", program, *map(str, arguments), stdout=-1, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    return run


def key_files(folder, curve):
    key = ec.generate_private_key(curve)
    private, public = folder / f"{curve.name}.pem", folder / f"{curve.name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return EllipticKey(key), private, public


async def test_each_verifies_what_the_other_signed_and_refuses_what_was_altered(theirs, tmp_path):
    (owner, private, public), (other, _, other_public) = (
        key_files(tmp_path, curve) for curve in (ec.SECP384R1(), ec.SECP256R1())
    )
    model = write_model(tmp_path / "model", SMALL | {"empty.txt": b"no more"} | {"a-b/c": b"1", "a/b": b"2"} | large())
    write_model(model, {".cache/x": b"no part of it"})
    folder = read_folder(model)
    manifest = manifest_of(folder, "model", lambda _: None)
    ours, by_other = tmp_path / "model.sig", tmp_path / "other.sig"
    for key, place in ((owner, ours), (other, by_other)):
        place.write_bytes(sign_model(manifest, key, ignored=folder.left_out))
    assert await theirs(VERIFY, model, public, ours, other_public, by_other) == (0, "")

    (model / ".cache" / "x").unlink()
    code, said = await theirs(SIGN, private, model, tmp_path / "their.sig")
    assert code == 0, said
    require_signed(manifest, (tmp_path / "their.sig").read_bytes(), owner.public)

    (model / "config.json").write_bytes(SMALL["config.json"].replace(b"Llama", b"Lamia"))
    code, said = await theirs(VERIFY, model, public, ours)
    assert code
    assert "Hash mismatch for 'config.json:0:" in said
    altered = manifest_of(read_folder(model), "model", lambda _: None)
    for signature in (ours, tmp_path / "their.sig"):
        with pytest.raises(ArtifactRefused, match=r"artifact\.signed: config\.json"):
            require_signed(altered, signature.read_bytes(), owner.public)
