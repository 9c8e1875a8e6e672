"""Key configurations of Oblivious HTTP (RFC 9458 section 3): which key and algorithms a gateway takes.

A parsed configuration is only a claim; a client encrypts to the one its verified key bundle holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.hpke_suite import KEMS, SYMMETRIC_SUITE, SymmetricSuite

MEDIA_TYPE: Final = "application/ohttp-keys"
MAXIMUM_LIST: Final = 65_536  # bytes; a configuration for X-Wing has 1,225


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """One key of a gateway: its id (0 to 255), KEM, public key, and the symmetric suites it takes, preferred first.

    Raises:
        MalformedInput: a number out of range, a KEM that is not ours, a public key of the wrong size, or no suite.
    """

    key_id: int
    kem: int
    public: bytes
    suites: tuple[SymmetricSuite, ...] = (SYMMETRIC_SUITE,)

    def __post_init__(self) -> None:
        sizes = KEMS.get(self.kem)
        if sizes is None:
            raise MalformedInput(f"KEM 0x{self.kem:04x} is not supported")
        if len(self.public) != sizes.public:
            raise MalformedInput(f"a public key of KEM 0x{self.kem:04x} has {sizes.public} bytes")
        if not 0 <= self.key_id <= 255:
            raise MalformedInput(f"a key id is 0 to 255, not {self.key_id}")
        if not 1 <= len(self.suites) <= 65_535 // 4:
            raise MalformedInput("a key configuration names 1 to 16,383 symmetric suites")
        if not all(0 <= number <= 65_535 for suite in self.suites for number in suite):
            raise MalformedInput("a KDF or AEAD id has 16 bits")


def encode(config: KeyConfig) -> bytes:
    """The configuration as section 3.1 lays it out."""
    suites = b"".join(suite.kdf.to_bytes(2, "big") + suite.aead.to_bytes(2, "big") for suite in config.suites)
    head = bytes([config.key_id]) + config.kem.to_bytes(2, "big") + config.public
    return head + len(suites).to_bytes(2, "big") + suites


def decode(data: bytes) -> KeyConfig:
    """Parse one configuration that fills `data`.

    Raises:
        MalformedInput: cut short, too long, of a KEM that is not ours, or with no or half a suite.
    """
    kem = int.from_bytes(data[1:3], "big")
    sizes = KEMS.get(kem)
    if sizes is None:
        raise MalformedInput(f"KEM 0x{kem:04x} is not supported")
    end = 3 + sizes.public
    suites = data[end + 2 :]
    if len(data) < end + 2 or int.from_bytes(data[end : end + 2], "big") != len(suites) or len(suites) % 4:
        raise MalformedInput("the lengths in the key configuration do not add up")
    numbers = [int.from_bytes(suites[at : at + 2], "big") for at in range(0, len(suites), 2)]
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return KeyConfig(data[0], kem, data[3:end], tuple(SymmetricSuite(*pair) for pair in pairs))


def encode_list(configs: Iterable[KeyConfig]) -> bytes:
    """The `application/ohttp-keys` form: each configuration after its length in two bytes (section 3.2)."""
    encoded = [encode(config) for config in configs]
    return b"".join(len(config).to_bytes(2, "big") + config for config in encoded)


def decode_list(data: bytes) -> tuple[KeyConfig, ...]:
    """Parse the `application/ohttp-keys` form; configurations of KEMs that are not ours are skipped, as the RFC says.

    Raises:
        TooLarge: more than 65,536 bytes.
        MalformedInput: cut short, or a configuration of a KEM of ours that is malformed.
    """
    if len(data) > MAXIMUM_LIST:
        raise TooLarge(f"{len(data)} bytes of key configurations, the cap is {MAXIMUM_LIST}")
    configs = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        config = data[at + 2 : end]
        if end > len(data) or len(config) < 3:
            raise MalformedInput("the list of key configurations is cut short")
        if int.from_bytes(config[1:3], "big") in KEMS:
            configs.append(decode(config))
        at = end
    return tuple(configs)
