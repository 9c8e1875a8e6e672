"""IBM Hyper Protect's contracts as `openssl` makes and opens them, with the commands of IBM's own documentation."""

import base64
import subprocess

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

WORKLOAD = """type: workload
compose:
  archive: H4sIAAAAAAAAA+3BAQEAAACCIP+vbkhAAQAAAAAAAAAAAAAAAAAAAAAA
env:
  MODEL_TOKEN: "canary of the workload"
  DEPTH: 3
"""
ENV = """type: env
logging:
  syslog:
    hostname: log.test
signingKey: {key}
env:
  LOG_TOKEN: 'canary of the environment'
"""


def openssl(*arguments, data=b""):
    """What an openssl command writes to its output."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class KeyFiles:
    """An RSA key pair in two files."""

    def __init__(self, folder, name, bits=2048):
        self.key = rsa.generate_private_key(65537, bits)
        encoding, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.private = folder / f"{name}.key"
        self.private.write_bytes(self.key.private_bytes(encoding, pkcs8, serialization.NoEncryption()))
        self.private.chmod(0o600)
        self.public = folder / f"{name}.pem"
        self.public.write_bytes(openssl("pkey", "-in", self.private, "-pubout"))


def encrypted(text, to, password=None):
    """A section's token: a password of 32 random bytes, unless one is given."""
    password = password or openssl("rand", "-base64", 24)[:32]
    wrapped = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", to.public, data=password)
    text_file = to.public.with_name("text")
    text_file.write_text(text)
    body = openssl("enc", "-aes-256-cbc", "-pbkdf2", "-pass", "stdin", "-in", text_file, data=password)
    return ".".join(("hyper-protect-basic", *(base64.b64encode(part).decode() for part in (wrapped, body))))


def decrypted(token, to):
    """What openssl makes of a token."""
    _, wrapped, body = token.split(".")
    password = openssl("pkeyutl", "-decrypt", "-inkey", to.private, data=base64.b64decode(wrapped))
    body_file = to.public.with_name("body")
    body_file.write_bytes(base64.b64decode(body))
    return openssl("enc", "-d", "-aes-256-cbc", "-pbkdf2", "-pass", "stdin", "-in", body_file, data=password).decode()


def signature(workload, env, signer):
    """`envWorkloadSignature` in base64."""
    signed = openssl("dgst", "-sha256", "-sign", signer.private, data=(workload + env).encode())
    return base64.b64encode(signed).decode()


def signing_key(signer):
    """The signer's public key as YAML holds it: base64 of PEM."""
    return base64.b64encode(signer.public.read_bytes()).decode()


def contract(to, signer, *, workload=WORKLOAD, env=None):
    """A whole contract."""
    tokens = (
        encrypted(workload, to),
        encrypted(ENV.format(key=signing_key(signer)) if env is None else env, to),
    )
    return f"workload: {tokens[0]}\nenv: {tokens[1]}\nenvWorkloadSignature: {signature(*tokens, signer)}\n"
