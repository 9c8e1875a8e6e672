"""The two key encapsulation mechanisms: DHKEM(X25519, HKDF-SHA256) and X-Wing. Contexts over them are in `hpke`.

X-Wing (draft-connolly-cfrg-xwing-kem section 5) is put together here because pyca offers it only inside its
single-shot HPKE, which cannot export; the primitives are pyca's.
"""

from __future__ import annotations

from hashlib import sha3_256, shake_256
from typing import Final, Self, final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto import hkdf
from cloister.errors import CloisterError, MalformedInput
from cloister.formats.hpke_suite import KEMS, X25519_HKDF_SHA256, X_WING, KemSizes
from cloister.secret import SecretBytes

_XWING_LABEL: Final = b"\\.//^\\"
_MLKEM_PUBLIC: Final = 1184
_MLKEM_CIPHERTEXT: Final = 1088
_SUITE: Final = b"HPKE-v1" + b"KEM" + X25519_HKDF_SHA256.to_bytes(2, "big")
_EAE_PRK: Final = _SUITE + b"eae_prk"
_SHARED_SECRET: Final = (32).to_bytes(2, "big") + _SUITE + b"shared_secret"


class OpenFailed(CloisterError):
    """A ciphertext does not open with this key, info and associated data.

    One error for wrong keys, altered bytes, bad tags and low-order points: telling them apart helps only attackers.
    """

    exit_code = 3
    status = 400


@final
class KemPrivateKey:
    """A private key of either KEM; `secret` is 32 bytes: the X25519 scalar, or X-Wing's seed."""

    __slots__ = ("_mlkem", "_x25519", "kem", "public", "secret")

    kem: int
    public: bytes
    secret: SecretBytes

    def __init__(self, kem: int, secret: SecretBytes) -> None:
        if len(secret) != _sizes(kem).secret:
            raise MalformedInput(f"a private key of KEM 0x{kem:04x} has {_sizes(kem).secret} bytes, not {len(secret)}")
        self.kem = kem
        self.secret = secret
        self._mlkem: MLKEM768PrivateKey | None = None
        scalar = secret.reveal()
        if kem == X_WING:
            # "expandDecapsulationKey": SHAKE256 gives ML-KEM's d and z, then the scalar (section 5.2).
            expanded = shake_256(scalar).digest(96)
            self._mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
            scalar = expanded[64:]
        self._x25519 = X25519PrivateKey.from_private_bytes(scalar)
        public = self._x25519.public_key().public_bytes_raw()
        self.public = public if self._mlkem is None else self._mlkem.public_key().public_bytes_raw() + public

    @classmethod
    def generate(cls, kem: int) -> Self:
        """A fresh key pair.

        Raises:
            MalformedInput: the KEM is not one of ours.
        """
        return cls(kem, SecretBytes(AESGCM.generate_key(8 * _sizes(kem).secret)))  # pyca's name for random bytes

    @classmethod
    def from_bytes(cls, kem: int, secret: SecretBytes) -> Self:
        """The key pair that `secret`, 32 bytes, stands for.

        Raises:
            MalformedInput: not 32 bytes, or the KEM is not one of ours.
        """
        return cls(kem, secret)

    def decapsulate(self, enc: bytes) -> bytes:
        """The shared secret, 32 bytes, that `enc` carries.

        Raises:
            OpenFailed: a wrong length, or a low-order point.
        """
        if len(enc) != KEMS[self.kem].enc:
            raise OpenFailed(f"an encapsulated key of KEM 0x{self.kem:04x} has {KEMS[self.kem].enc} bytes")
        ephemeral = enc[-32:]
        try:
            agreed = self._x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        except ValueError as error:
            raise OpenFailed("the encapsulated key does not open") from error
        if self._mlkem is None:
            return _dhkem_secret(agreed, enc, self.public)
        return _xwing_secret(self._mlkem.decapsulate(enc[:_MLKEM_CIPHERTEXT]), agreed, ephemeral, self.public[-32:])

    def __repr__(self) -> str:
        return f"<KemPrivateKey, KEM 0x{self.kem:04x}>"


def encapsulate(kem: int, public: bytes) -> tuple[bytes, bytes]:
    """A fresh shared secret, 32 bytes, and the encapsulated key that carries it to the holder of `public`.

    Raises:
        MalformedInput: not a public key of this KEM, a low-order point, or a KEM that is not one of ours.
    """
    return encapsulate_with(X25519PrivateKey.generate(), kem, public)


def encapsulate_with(ephemeral: X25519PrivateKey, kem: int, public: bytes) -> tuple[bytes, bytes]:
    """`encapsulate` with this ephemeral key, for published vectors; an ephemeral key is used once."""
    if len(public) != _sizes(kem).public:
        raise MalformedInput(f"a public key of KEM 0x{kem:04x} has {_sizes(kem).public} bytes, not {len(public)}")
    ours = ephemeral.public_key().public_bytes_raw()
    theirs = public[-32:]
    try:
        agreed = ephemeral.exchange(X25519PublicKey.from_public_bytes(theirs))
        if kem == X25519_HKDF_SHA256:
            return _dhkem_secret(agreed, ours, public), ours
        mlkem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]).encapsulate()
    except ValueError as error:
        raise MalformedInput(f"not a usable public key of KEM 0x{kem:04x}") from error
    return _xwing_secret(mlkem_secret, agreed, ours, theirs), ciphertext + ours


def _sizes(kem: int) -> KemSizes:
    sizes = KEMS.get(kem)
    if sizes is None:
        raise MalformedInput(f"KEM 0x{kem:04x} is not supported; 0x647a (X-Wing) and 0x0020 (X25519) are")
    return sizes


def _dhkem_secret(agreed: bytes, enc: bytes, public: bytes) -> bytes:
    """`ExtractAndExpand` of RFC 9180 section 4.1."""
    prk = hkdf.extract(b"", _EAE_PRK + agreed)
    return hkdf.expand(prk, _SHARED_SECRET + enc + public, 32)


def _xwing_secret(mlkem_secret: bytes, agreed: bytes, ephemeral: bytes, public: bytes) -> bytes:
    """`Combiner` of the X-Wing draft, section 5.3; the label comes last."""
    return sha3_256(mlkem_secret + agreed + ephemeral + public + _XWING_LABEL).digest()
