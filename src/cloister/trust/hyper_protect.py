"""Examines IBM Hyper Protect's contracts before anything of them is used, and makes them: always signed.

Their encryption is not authenticated and their key travels inside them, so a signature counts only by a key that the
importer named beforehand; and it is checked before anything is decrypted.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from cloister.crypto.hyper_protect import (
    check_tokens,
    decrypt_section,
    encrypt_section,
    public_pem,
    read_rsa_public,
    sign_tokens,
)
from cloister.crypto.kem import OpenFailed
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.hyper_protect import EncryptedContract, parse_token
from cloister.formats.hyper_protect_section import HyperProtectSection, parse_hyper_protect_section
from cloister.formats.hyper_protect_sections import NotExportable, exported_text
from cloister.formats.section import Section
from cloister.secret import SecretBytes

HYPER_PROTECT_STEPS: Final = (
    "imported.signed",
    "imported.signature",
    "imported.opened",
    "imported.form",
    "imported.signing-key",
)


class ImportRefused(Refused):
    """A contract in IBM's form is not one to import: nothing of it was used."""


@dataclass(frozen=True, slots=True)
class ImportedContract:
    """The texts of both sections, as the signer whom the importer named signed them. Built only here."""

    workload: SecretBytes
    env: SecretBytes


def examine_hyper_protect(
    contract: EncryptedContract, *, signer: RSAPublicKey, key: RSAPrivateKey
) -> Examination[ImportedContract]:
    """Hold a contract against the key of the signer that the importer expects, and open it with the importer's own."""
    steps = Steps(HYPER_PROTECT_STEPS, ImportRefused)
    # 1. It is signed …
    if not steps.check("imported.signed", bool(contract.signature), "has no envWorkloadSignature", found="signed"):
        return steps.stopped()
    # 2. … by the one who is expected; before that nothing is decrypted.
    tokens = (contract.workload, contract.env)
    steps.attempt("imported.signature", lambda: check_tokens(*tokens, contract.signature, signer), BadSignature)
    if not steps.clean:
        return steps.stopped()
    # 3. It was encrypted to the importer.
    opened = steps.attempt(
        "imported.opened",
        lambda: [decrypt_section(parse_token(token), key) for token in tokens],
        OpenFailed,
        MalformedInput,
        TooLarge,
    )
    if opened is None:
        return steps.stopped()
    # 4. Each section is what it stands for …
    read = steps.attempt("imported.form", lambda: _read(*opened), MalformedInput, TooLarge, found="workload and env")
    if read is None:
        return steps.stopped()
    # 5. … and names the same signer inside: another key there would be believed by IBM's machine, and by nobody here.
    steps.attempt("imported.signing-key", lambda: _require_key(read[1], signer), MalformedInput, found="the signer's")
    return steps.examined(lambda: ImportedContract(*opened))


def export_workload(section: Section, to: RSAPublicKey) -> str:
    """A workload's token, which whoever owns the environment signs together with their own.

    Raises:
        NotExportable, MalformedInput: it has no equal in IBM's form.
    """
    if section.kind != "workload":
        raise NotExportable(f"a workload's section is exported by itself, and this is of kind {section.kind}")
    return encrypt_section(exported_text(section, signing_key=""), to).token()


def export_contract(section: Section, workload: str, *, to: RSAPublicKey, signer: RSAPrivateKey) -> EncryptedContract:
    """A whole contract: the environment's section, a workload's token as it came, and the signature over both.

    Raises:
        NotExportable, MalformedInput: the section has no equal in IBM's form, or names another signing key.
    """
    if section.kind != "environment":
        raise NotExportable(f"an environment's section signs a contract, and this is of kind {section.kind}")
    parse_token(workload)
    text = exported_text(section, signing_key=public_pem(signer.public_key()))
    _require_key(parse_hyper_protect_section(text), signer.public_key())
    env = encrypt_section(text, to).token()
    return EncryptedContract(workload, env, sign_tokens(workload, env, signer))


def _read(workload: SecretBytes, env: SecretBytes) -> tuple[HyperProtectSection, HyperProtectSection]:
    found = (parse_hyper_protect_section(workload), parse_hyper_protect_section(env))
    if tuple(one.type for one in found) != ("workload", "env"):
        raise MalformedInput("a section stands in the other's place")
    return found


def _require_key(env: HyperProtectSection, signer: RSAPublicKey) -> None:
    if not env.signing_key:
        raise MalformedInput("the env section names no signingKey")
    text = env.signing_key.encode()
    try:
        pem = text if text.startswith(b"-----BEGIN") else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedInput("the signingKey is neither PEM nor base64 of it") from None
    if read_rsa_public(pem).public_numbers() != signer.public_numbers():
        raise MalformedInput("the signingKey in the env section is another key than the signer's")
