"""What is asked of a TPM 2.0 for evidence, and what it answers: five commands (TPM 2.0 Library part 3, revision 1.59).

Integers are big-endian. A command is a tag, its size, its code, handles, an authorization area where one is needed, and
parameters; an answer a tag, its size, a code, and parameters. Authorization is the empty password: what is asked here
is secret to nobody who may open the device. Nothing parsed here is trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cloister.errors import CloisterError, MalformedInput
from cloister.formats.byte_reader import ByteReader
from cloister.formats.tpm_quote import MAXIMUM_TPM, TPM_ALG_NULL, read_selections, read_sized

MAXIMUM_ANSWER: Final = 4096  # bytes: TPM_PT_MAX_RESPONSE_SIZE of every TPM for PCs
TPM_RH_OWNER: Final = 0x40000001
NV_PIECE: Final = 512  # bytes: no TPM for PCs gives fewer at once
PCRS_AT_ONCE: Final = 8  # digests in a TPML_DIGEST (part 2, table 104)
AGAIN: Final = frozenset({0x908, 0x90A, 0x920, 0x922})  # TPM_RC_YIELDED, _TESTING, _NV_RATE, _RETRY
_RC_HANDLE: Final = 0x08B  # a handle that stands for nothing
_FORMAT_ONE: Final = 0x0BF  # the error's own bits where a handle, parameter or session is to blame
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002  # TPM_ST (part 2, table 19)
_NV_READ, _QUOTE, _NV_READ_PUBLIC, _READ_PUBLIC, _PCR_READ = 0x14E, 0x158, 0x169, 0x173, 0x17E  # TPM_CC (table 12)
_HEADER: Final = struct.Struct(">HII")
_EMPTY_PASSWORD: Final = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)  # TPM_RS_PW, no nonce, no attributes, no HMAC
_OWNER_READ, _AUTH_READ = 1 << 17, 1 << 18  # TPMA_NV (table 217)


class TpmError(CloisterError):
    """An answer whose code is not success; `code` is its TPM_RC (part 2, section 6.6)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the TPM answers with code {code:#05x}")
        self.code = code

    @property
    def absent(self) -> bool:
        """Whether a handle of the command stands for nothing."""
        return self.code & _FORMAT_ONE == _RC_HANDLE


@dataclass(frozen=True, slots=True)
class NvPublic:
    """TPMS_NV_PUBLIC (table 220), what matters of it."""

    index: int
    attributes: int
    size: int  # bytes

    @property
    def reader(self) -> int:
        """Whose authorization reads it: the owner's where that is allowed, else the index's own."""
        return TPM_RH_OWNER if self.attributes & _OWNER_READ else self.index


@dataclass(frozen=True, slots=True)
class PcrValues:
    """What TPM2_PCR_Read answers: some of the PCRs that were asked for."""

    update_counter: int  # rises whenever any PCR changes
    values: dict[int, bytes]


def nv_read_public(index: int) -> bytes:
    """TPM2_NV_ReadPublic (31.6): what an NV index is."""
    return _command(_NV_READ_PUBLIC, handles=(index,))


def nv_read(public: NvPublic, *, offset: int, size: int) -> bytes:
    """TPM2_NV_Read (31.13): `size` bytes of an NV index, at most `NV_PIECE`."""
    return _command(
        _NV_READ, handles=(public.reader, public.index), authorized=True, parameters=struct.pack(">HH", size, offset)
    )


def read_public(handle: int) -> bytes:
    """TPM2_ReadPublic (12.4): the public area of a key."""
    return _command(_READ_PUBLIC, handles=(handle,))


def pcr_read(bank: int, pcrs: Collection[int]) -> bytes:
    """TPM2_PCR_Read (22.4): PCRs of one bank; it answers with as many as it likes."""
    return _command(_PCR_READ, parameters=_selection(bank, pcrs))


def quote(key: int, qualifying_data: bytes, *, bank: int, pcrs: Collection[int]) -> bytes:
    """TPM2_Quote (18.4), in the key's own scheme."""
    data = len(qualifying_data).to_bytes(2, "big") + qualifying_data
    parameters = data + TPM_ALG_NULL.to_bytes(2, "big") + _selection(bank, pcrs)
    return _command(_QUOTE, handles=(key,), authorized=True, parameters=parameters)


def answer_length(data: bytes) -> int:
    """How long an answer says that it is.

    Raises:
        MalformedInput: its head is cut off, or says more than there can be.
    """
    read = ByteReader(data, "big")
    read.integer(2, "tag")
    size = read.integer(4, "responseSize")
    if not _HEADER.size <= size <= MAXIMUM_ANSWER:
        raise MalformedInput(f"an answer of {size} bytes; a TPM's have 10 to {MAXIMUM_ANSWER}")
    return size


def parse_nv_public(answer: bytes) -> NvPublic:
    """What TPM2_NV_ReadPublic answers.

    Raises:
        MalformedInput: it is none; TpmError: it says no.
    """
    read = _parameters(answer)
    public = ByteReader(read_sized(read, "nvPublic", MAXIMUM_TPM), "big")
    read_sized(read, "nvName", MAXIMUM_TPM)
    read.end("the answer")
    index, _, attributes = (public.integer(size, "nvPublic") for size in (4, 2, 4))
    read_sized(public, "authPolicy", 64)
    size = public.integer(2, "dataSize")
    public.end("nvPublic")
    if not attributes & (_OWNER_READ | _AUTH_READ):
        raise MalformedInput(f"NV index {index:#010x} is read under a policy only")
    return NvPublic(index, attributes, size)


def parse_nv_data(answer: bytes) -> bytes:
    """What TPM2_NV_Read answers; errors as `parse_nv_public`."""
    read = _parameters(answer, authorized=True)
    data = read_sized(read, "data", NV_PIECE)
    read.end("the answer's parameters")
    return data


def parse_public_area(answer: bytes) -> bytes:
    """The TPMT_PUBLIC that TPM2_ReadPublic answers; errors as `parse_nv_public`."""
    read = _parameters(answer)
    public = read_sized(read, "outPublic", MAXIMUM_TPM)
    for name in ("name", "qualifiedName"):
        read_sized(read, name, 68)
    read.end("the answer")
    return public


def parse_pcr_values(answer: bytes) -> PcrValues:
    """What TPM2_PCR_Read answers; errors as `parse_nv_public`."""
    read = _parameters(answer)
    counter = read.integer(4, "pcrUpdateCounter")
    selections = read_selections(read)
    indices = [index for selection in selections for index in selection.pcrs]
    count = read.integer(4, "the number of digests")
    if len(selections) > 1 or count != len(indices) or count > PCRS_AT_ONCE:
        raise MalformedInput(
            f"{count} values of {len(indices)} PCRs in {len(selections)} banks: one bank was asked for"
        )
    values = {index: read_sized(read, "a PCR", 64) for index in indices}
    read.end("the answer")
    return PcrValues(counter, values)


def parse_quoted(answer: bytes) -> tuple[bytes, bytes]:
    """The TPMS_ATTEST and TPMT_SIGNATURE that TPM2_Quote answers; errors as `parse_nv_public`."""
    read = _parameters(answer, authorized=True)
    return read_sized(read, "quoted", MAXIMUM_TPM), read.rest()


def _command(code: int, *, handles: tuple[int, ...] = (), authorized: bool = False, parameters: bytes = b"") -> bytes:
    body = b"".join(handle.to_bytes(4, "big") for handle in handles)
    body += (_EMPTY_PASSWORD if authorized else b"") + parameters
    return _HEADER.pack(_SESSIONS if authorized else _NO_SESSIONS, _HEADER.size + len(body), code) + body


def _selection(bank: int, pcrs: Collection[int]) -> bytes:
    """A TPML_PCR_SELECTION of one bank, three bytes of it: PCRs 0 to 23."""
    bits = sum(1 << index for index in set(pcrs))
    return struct.pack(">IHB", 1, bank, 3) + bits.to_bytes(3, "little")


def _parameters(answer: bytes, *, authorized: bool = False) -> ByteReader:
    """The answer's parameters, without the sessions behind them.

    Raises:
        TpmError: its code is not success.
    """
    if answer_length(answer) != len(answer):
        raise MalformedInput(f"an answer of {len(answer)} bytes says that it has {answer_length(answer)}")
    read = ByteReader(answer, "big")
    tag = read.integer(2, "tag")
    read.take(4, "responseSize")
    if code := read.integer(4, "responseCode"):
        raise TpmError(code)
    if tag != (_SESSIONS if authorized else _NO_SESSIONS):
        raise MalformedInput(f"an answer with tag {tag:#06x}, which its command does not have")
    if not authorized:
        return read
    size = read.integer(4, "parameterSize")
    return ByteReader(read.take(size, "the answer's parameters"), "big")
