"""IBM Hyper Protect's encrypted contracts, for import and export alone (docs/formats/hyper-protect.md).

A contract is YAML of a few text keys, each section a token of three parts. Read here is the part of YAML that IBM's own
tools write: keys in a column, text in one line or in a block. Everything else is refused, never guessed at. Deciding
whether a contract is signed, and by whom, is for `trust.hyper_protect`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge

PREFIX: Final = "hyper-protect-basic"
MAXIMUM_CONTRACT: Final = 1024 * 1024  # bytes
MAXIMUM_CIPHERTEXT: Final = 256 * 1024  # bytes
PASSWORD_SIZES: Final = range(256, 1025)  # bytes of an RSA ciphertext: keys of 2,048 to 8,192 bits
SALTED: Final = b"Salted__"  # how `openssl enc` begins
SALT_SIZE: Final = 8
BLOCK: Final = 16
_KEYS: Final = ("workload", "env", "attestationPublicKey", "envWorkloadSignature")
_LINE: Final = re.compile(r"([A-Za-z]+):(?: +(.*))?")


@dataclass(frozen=True, slots=True)
class EncryptedSection:
    """A section as `openssl enc -aes-256-cbc -pbkdf2` left it, and its password under RSA. Nothing vouches for it."""

    password: bytes  # encrypted
    salt: bytes  # 8 bytes
    ciphertext: bytes  # blocks of 16 bytes

    def token(self) -> str:
        """`hyper-protect-basic.<password>.<salted ciphertext>`, each part in base64."""
        salted = SALTED + self.salt + self.ciphertext
        return ".".join((PREFIX, *(base64.b64encode(part).decode() for part in (self.password, salted))))


@dataclass(frozen=True, slots=True)
class EncryptedContract:
    """Two tokens, as they were signed, and the signature; empty where there is none."""

    workload: str
    env: str
    signature: bytes
    attestation_key: str = ""  # carried along


def parse_token(token: str) -> EncryptedSection:
    """Parse one encrypted section.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    if len(token) > 2 * MAXIMUM_CIPHERTEXT:
        raise TooLarge(f"an encrypted section of {len(token)} characters, the cap is {2 * MAXIMUM_CIPHERTEXT}")
    parts = token.split(".")
    if len(parts) != 3 or parts[0] != PREFIX:
        raise MalformedInput(f"an encrypted section is {PREFIX}., a password, a dot and a ciphertext")
    password, salted = _base64(parts[1], "the password"), _base64(parts[2], "the ciphertext")
    begin = len(SALTED) + SALT_SIZE
    if len(password) not in PASSWORD_SIZES:
        raise MalformedInput(f"an RSA ciphertext of {len(password)} bytes; keys have 2,048 to 8,192 bits")
    if not salted.startswith(SALTED) or len(salted) <= begin or len(salted) % BLOCK:
        raise MalformedInput("the ciphertext is not what `openssl enc` writes: Salted__, eight bytes, whole blocks")
    return EncryptedSection(password, salted[len(SALTED) : begin], salted[begin:])


def parse_encrypted_contract(data: bytes) -> EncryptedContract:
    """Parse a contract both of whose sections are encrypted, at most 1 MiB.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: it is none, or a section stands in it in the clear.
    """
    if len(data) > MAXIMUM_CONTRACT:
        raise TooLarge(f"a contract of {len(data)} bytes, the cap is {MAXIMUM_CONTRACT}")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedInput("a contract is UTF-8") from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip(" \r")
        if not text or text.startswith("#") or (text == "---" and not values):
            continue
        found = _LINE.fullmatch(text)
        if found is None or found[1] not in _KEYS or found[1] in values:
            raise MalformedInput(f"line {number}: here stand {', '.join(_KEYS)}, each once, with text behind it")
        values[found[1]] = _unquoted(found[2] or "", number)
    if missing := [key for key in _KEYS[:2] if not values.get(key)]:
        raise MalformedInput(f"missing: {', '.join(missing)}")
    for key in _KEYS[:2]:
        parse_token(values[key])
    signature = values.get("envWorkloadSignature", "")
    return EncryptedContract(
        values["workload"], values["env"], _base64(signature, "the signature"), values.get("attestationPublicKey", "")
    )


def format_encrypted_contract(contract: EncryptedContract) -> str:
    """The YAML of a contract, as IBM's own tools write it."""
    key = [f"attestationPublicKey: {contract.attestation_key}"] if contract.attestation_key else []
    signature = base64.b64encode(contract.signature).decode()
    lines = (f"workload: {contract.workload}", f"env: {contract.env}", *key, f"envWorkloadSignature: {signature}")
    return "\n".join(lines) + "\n"


def _base64(text: str, what: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput(f"{what} is not base64") from error
    if base64.b64encode(value).decode() != text:
        raise MalformedInput(f"{what} is not in the one way to write it in base64")
    return value


def _unquoted(text: str, number: int) -> str:
    """Base64 and tokens need no escapes, so none are read."""
    inner = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if not re.fullmatch(r"[A-Za-z0-9+/=._-]*", inner):
        raise MalformedInput(f"line {number}: base64 and dots stand here, in one line")
    return inner
