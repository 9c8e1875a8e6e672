"""What a TPM 2.0 signs and says of itself: quotes, signatures, public keys (TPM 2.0 Library part 2, revision 1.59).

Integers are big-endian; a TPM2B is its size in 2 bytes and that many bytes. Nothing parsed here is trusted yet, and
what is not signed (the PCRs' values) is not in these types at all: `attest.tpm` ties the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.byte_reader import ByteReader

MAXIMUM_TPM: Final = 4096  # bytes of any one structure
MAXIMUM_BANKS: Final = 16  # TPM_ALG_IDs that one quote selects PCRs of
TPM_GENERATED_VALUE: Final = b"\xffTCG"  # table 7: nothing that a restricted key signs from outside begins so
TPM_ST_ATTEST_QUOTE: Final = b"\x80\x18"  # table 19
TPM_ALG_RSA, TPM_ALG_NULL, TPM_ALG_ECC = 0x0001, 0x0010, 0x0023  # table 9
RSASSA, RSAPSS, ECDSA = 0x0014, 0x0016, 0x0018
_MAXIMUM_DATA: Final = 66  # bytes of TPM2B_DATA: a TPMT_HA of SHA-512
_MAXIMUM_NAME: Final = 68
_SCHEMES: Final = (RSASSA, RSAPSS, ECDSA)
_DEFAULT_EXPONENT: Final = 65537  # what an exponent of 0 stands for (table 224)


@dataclass(frozen=True, slots=True)
class PcrSelection:
    """TPMS_PCR_SELECTION (table 94): which PCRs of one bank."""

    algorithm: int  # hash
    pcrs: tuple[int, ...]  # pcrSelect, ascending


@dataclass(frozen=True, slots=True)
class TpmQuote:
    """TPMS_ATTEST (table 132) of type quote."""

    qualified_signer: bytes
    extra_data: bytes  # the qualifying data that the caller of TPM2_Quote gave
    clock: int  # milliseconds that the TPM was powered
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    selections: tuple[PcrSelection, ...]  # pcrSelect of TPMS_QUOTE_INFO (table 125)
    pcr_digest: bytes
    signed: bytes  # these bytes, which the signature is over


@dataclass(frozen=True, slots=True)
class TpmSignature:
    """TPMT_SIGNATURE (table 188), or what stands for one where the scheme is known."""

    scheme: int  # sigAlg: RSASSA, RSAPSS or ECDSA
    hash: int  # TPM_ALG_ID
    parts: tuple[bytes, ...]  # the RSA signature; or r and s


@dataclass(frozen=True, slots=True)
class TpmPublic:
    """TPMT_PUBLIC (table 201) of a key that signs."""

    name_algorithm: int
    attributes: int  # objectAttributes (table 35)
    rsa: tuple[int, int] | None  # modulus and exponent
    ecc: tuple[int, int, int] | None  # curveID, x, y
    encoded: bytes  # what its Name is the hash of


def parse_tpm_quote(data: bytes) -> TpmQuote:
    """A TPMS_ATTEST of type quote, at most 4 KiB.

    Raises:
        TooLarge, MalformedInput: not such a structure.
    """
    read = _reader(data)
    read.constant(TPM_GENERATED_VALUE, "magic")
    read.constant(TPM_ST_ATTEST_QUOTE, "type")
    signer = read_sized(read, "qualifiedSigner", _MAXIMUM_NAME)
    extra = read_sized(read, "extraData", _MAXIMUM_DATA)
    clock, resets, restarts = (read.integer(size, "clockInfo") for size in (8, 4, 4))
    safe = read.integer(1, "safe")
    if safe > 1:
        raise MalformedInput("safe is neither YES nor NO")
    firmware = read.integer(8, "firmwareVersion")
    selections = read_selections(read)
    digest = read_sized(read, "pcrDigest", 64)
    read.end("the quote")
    return TpmQuote(signer, extra, clock, resets, restarts, bool(safe), firmware, selections, digest, data)


def parse_tpm2b_quote(data: bytes) -> TpmQuote:
    """A TPM2B_ATTEST (table 133) that holds a quote.

    Raises:
        TooLarge, MalformedInput: not such a structure.
    """
    read = _reader(data)
    attest = read_sized(read, "TPM2B_ATTEST", MAXIMUM_TPM)
    read.end("TPM2B_ATTEST")
    return parse_tpm_quote(attest)


def parse_tpm_signature(data: bytes) -> TpmSignature:
    """A TPMT_SIGNATURE, at most 4 KiB.

    Raises:
        TooLarge, MalformedInput: not one of RSASSA, RSAPSS or ECDSA.
    """
    read = _reader(data)
    scheme = read.integer(2, "sigAlg")
    if scheme not in _SCHEMES:
        raise MalformedInput(f"a signature of scheme {scheme:#06x}; RSASSA, RSAPSS and ECDSA are taken")
    digest = read.integer(2, "hash")
    parts = tuple(read_sized(read, "the signature", 1024) for _ in range(2 if scheme == ECDSA else 1))
    read.end("the signature")
    return TpmSignature(scheme, digest, parts)


def parse_tpm_public(data: bytes) -> TpmPublic:
    """A TPMT_PUBLIC of an RSA or ECC key, at most 4 KiB.

    Raises:
        TooLarge, MalformedInput: not such a key.
    """
    read = _reader(data)
    kind = read.integer(2, "type")
    if kind not in (TPM_ALG_RSA, TPM_ALG_ECC):
        raise MalformedInput(f"a public key of type {kind:#06x}; RSA and ECC are taken")
    name, attributes = read.integer(2, "nameAlg"), read.integer(4, "objectAttributes")
    read_sized(read, "authPolicy", 64)
    _symmetric(read)
    _scheme(read)
    rsa = _rsa(read) if kind == TPM_ALG_RSA else None
    ecc = _ecc(read) if kind == TPM_ALG_ECC else None
    read.end("the public key")
    return TpmPublic(name, attributes, rsa, ecc, data)


def _reader(data: bytes) -> ByteReader:
    if len(data) > MAXIMUM_TPM:
        raise TooLarge(f"a structure of {len(data)} bytes, the cap is {MAXIMUM_TPM}")
    return ByteReader(data, "big")


def read_sized(read: ByteReader, field: str, limit: int) -> bytes:
    """A TPM2B of at most `limit` bytes."""
    size = read.integer(2, f"the size of {field}")
    if size > limit:
        raise MalformedInput(f"{field} of {size} bytes, the cap is {limit}")
    return read.take(size, field)


def read_selections(read: ByteReader) -> tuple[PcrSelection, ...]:
    """TPML_PCR_SELECTION (table 112): each bank once, so that the order of the digested values has one reading."""
    count = read.integer(4, "the number of PCR selections")
    if count > MAXIMUM_BANKS:
        raise MalformedInput(f"a quote over {count} banks")
    found = tuple(_selection(read) for _ in range(count))
    if len({one.algorithm for one in found}) != count:
        raise MalformedInput("a quote names a bank twice")
    return found


def _selection(read: ByteReader) -> PcrSelection:
    algorithm, size = read.integer(2, "hash"), read.integer(1, "sizeofSelect")
    if not 1 <= size <= 4:
        raise MalformedInput(f"a selection of PCRs in {size} bytes")
    bits = int.from_bytes(read.take(size, "pcrSelect"), "little")
    return PcrSelection(algorithm, tuple(index for index in range(8 * size) if bits >> index & 1))


def _symmetric(read: ByteReader) -> None:
    """TPMT_SYM_DEF_OBJECT (table 143): none, for a key that signs."""
    if read.integer(2, "symmetric") != TPM_ALG_NULL:
        raise MalformedInput("a key with a symmetric algorithm decrypts, and does not sign quotes")


def _scheme(read: ByteReader) -> None:
    """TPMT_RSA_SCHEME or TPMT_ECC_SCHEME (tables 178 and 182): with a hash, unless it is none."""
    scheme = read.integer(2, "scheme")
    if scheme in _SCHEMES:
        read.take(2, "the scheme's hash")
    elif scheme != TPM_ALG_NULL:
        raise MalformedInput(f"a key of scheme {scheme:#06x}; RSASSA, RSAPSS and ECDSA are taken")


def _rsa(read: ByteReader) -> tuple[int, int]:
    bits, exponent = read.integer(2, "keyBits"), read.integer(4, "exponent")
    modulus = int.from_bytes(read_sized(read, "the modulus", 1024), "big")
    if modulus.bit_length() != bits:
        raise MalformedInput(f"a modulus of {modulus.bit_length()} bits, the key says {bits}")
    return modulus, exponent or _DEFAULT_EXPONENT


def _ecc(read: ByteReader) -> tuple[int, int, int]:
    curve = read.integer(2, "curveID")
    if read.integer(2, "kdf") != TPM_ALG_NULL:
        raise MalformedInput("a key with a key derivation does not sign quotes")
    x, y = (int.from_bytes(read_sized(read, "a coordinate", 128), "big") for _ in range(2))
    return curve, x, y
