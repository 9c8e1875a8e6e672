"""A TPM 2.0 behind the kernel's resource manager: what it holds in NV, its PCRs, and quotes of them.

`/dev/tpmrm0` takes one command in one write and gives one answer. Codes that mean "again" are obeyed, boundedly.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.event_log import SHA256
from cloister.formats.tpm_command import (
    AGAIN,
    MAXIMUM_ANSWER,
    NV_PIECE,
    PCRS_AT_ONCE,
    TpmError,
    answer_length,
    nv_read,
    nv_read_public,
    parse_nv_data,
    parse_nv_public,
    parse_pcr_values,
    parse_public_area,
    parse_quoted,
    pcr_read,
    quote,
    read_public,
)
from cloister.formats.tpm_quote import parse_tpm_quote
from cloister.tee.collectors.collected import TeeFault, TeeUnavailable
from cloister.tee.collectors.machine import Machine, explained, uninterrupted

DEVICE: Final = "dev/tpmrm0"
ALL_PCRS: Final = tuple(range(24))
_TRIES: Final = 5
_FIRST_WAIT: Final = 0.1  # seconds, doubled with each try
_ABSENT: Final = "there is no TPM (of Azure's VMs, kernel 5.19 or later)"
_ADVICE: Final = {errno.EBUSY: "Another process holds the TPM: use /dev/tpmrm0 there too, and ask again"}


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote, its signature, and the values of the PCRs that it is over, which were read beside it."""

    attest: bytes  # TPMS_ATTEST
    signature: bytes  # TPMT_SIGNATURE
    pcrs: tuple[bytes, ...]  # 0 to 23 of the SHA-256 bank


@dataclass(frozen=True, slots=True)
class Tpm:
    """An opened TPM; `open_tpm` makes one."""

    machine: Machine
    descriptor: int

    def nv(self, index: int, *, limit: int) -> bytes | None:
        """The content of an NV index; None where there is no such index.

        Raises:
            TeeUnavailable, TeeFault: it cannot be read, or has more than `limit` bytes.
        """
        with _understood(f"NV index {index:#010x}"):
            try:
                public = parse_nv_public(self._answer(nv_read_public(index)))
            except TpmError as error:
                if error.absent:
                    return None
                raise
            if public.index != index or public.size > limit:
                raise TeeFault(
                    f"NV index {index:#010x} has {public.size} bytes, more than the {limit} of what it should hold"
                )
            found = b""
            while len(found) < public.size:
                size = min(NV_PIECE, public.size - len(found))
                piece = parse_nv_data(self._answer(nv_read(public, offset=len(found), size=size)))
                if len(piece) != size:
                    raise TeeFault(f"the TPM gave {len(piece)} of {size} bytes of NV index {index:#010x}")
                found += piece
            return found

    def public_area(self, handle: int) -> bytes:
        """The TPMT_PUBLIC of a key.

        Raises:
            TeeUnavailable, TeeFault: there is none, or it cannot be read.
        """
        with _understood(f"the key at {handle:#010x}"):
            return parse_public_area(self._answer(read_public(handle)))

    def quote(self, key: int, qualifying_data: bytes) -> Quoted:
        """A quote over all PCRs of the SHA-256 bank, and their values; again where one changed in between.

        Raises:
            TeeUnavailable, TeeFault: it cannot be had.
        """
        for _ in range(_TRIES):
            pcrs = self._pcrs()
            with _understood(f"a quote by the key at {key:#010x}"):
                attest, signature = parse_quoted(self._answer(quote(key, qualifying_data, bank=SHA256, pcrs=ALL_PCRS)))
                said = parse_tpm_quote(attest)
            if said.extra_data != qualifying_data:
                raise TeeFault(
                    "the TPM's quote carries other qualifying data than was asked for: it answers somebody else"
                )
            if hmac.compare_digest(hashlib.sha256(b"".join(pcrs)).digest(), said.pcr_digest):
                return Quoted(attest, signature, pcrs)
        raise TeeUnavailable("the TPM's PCRs change faster than they can be read and quoted: what extends them here?")

    def _pcrs(self) -> tuple[bytes, ...]:
        """All of the SHA-256 bank. That they are of one moment is seen by the quote over them."""
        values: dict[int, bytes] = {}
        with _understood("the PCRs"):
            while missing := [index for index in ALL_PCRS if index not in values]:
                got = parse_pcr_values(self._answer(pcr_read(SHA256, missing[:PCRS_AT_ONCE]))).values
                if not got.keys() & set(missing) or any(len(value) != 32 for value in got.values()):
                    raise TeeFault(
                        "the TPM has no PCRs in the SHA-256 bank: enable that bank, in the firmware's settings"
                    )
                values |= got
        return tuple(values[index] for index in ALL_PCRS)

    def _answer(self, command: bytes) -> bytes:
        """The answer to one command, which may be an error; asked again where it says so."""
        answer = self._exchanged(command)
        for attempt in range(_TRIES - 1):
            if int.from_bytes(answer[6:10], "big") not in AGAIN:
                break
            self.machine.sleep(_FIRST_WAIT * 2**attempt)
            answer = self._exchanged(command)
        return answer

    def _exchanged(self, command: bytes) -> bytes:
        try:
            written = uninterrupted(lambda: self.machine.calls.write(self.descriptor, command))
            if written != len(command):
                raise TeeFault(f"/{DEVICE} took {written} of a command's {len(command)} bytes")
            answer = self._piece(MAXIMUM_ANSWER)
            while len(answer) < answer_length(answer) and (piece := self._piece(MAXIMUM_ANSWER)):
                answer += piece
        except OSError as error:
            raise explained(error, "speaking to the TPM", _ADVICE) from error
        return answer

    def _piece(self, size: int) -> bytes:
        return uninterrupted(lambda: self.machine.calls.read(self.descriptor, size))


@contextlib.contextmanager
def open_tpm(machine: Machine) -> Iterator[Tpm]:
    """The machine's TPM.

    Raises:
        NoTee: it has none.
        TeeDenied, TeeUnavailable: it cannot be opened.
    """
    with machine.device(
        DEVICE, absent="there is no TPM (of Azure's VMs, kernel 5.19 or later)", advice=_ADVICE
    ) as descriptor:
        yield Tpm(machine, descriptor)


@contextlib.contextmanager
def _understood(what: str) -> Iterator[None]:
    """Say what was asked of the TPM where it says no, or nonsense.

    Raises:
        TeeUnavailable, TeeFault: in place of TpmError and MalformedInput.
    """
    try:
        yield
    except TpmError as error:
        if error.absent:
            raise TeeFault(f"{what}: there is none in this TPM") from error
        raise TeeUnavailable(
            f"{what}: {error} (TPM 2.0 Library part 2, section 6.6; tpm2_rc_decode says what it means)"
        ) from error
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"{what}: the TPM's answer cannot be read: {error}") from error
