"""A report of Linux's configfs-tsm as agents keep and send it: the folder's files as members of JSON or CBOR.

Members are those of Documentation/ABI/testing/configfs-tsm-report of Linux 6.7 and later, as Veraison's services take
them: in JSON bytes are base64url, in CBOR byte strings. Nothing of the envelope is signed.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.hcl_report import base64url

MAXIMUM_TSM: Final = 256 * 1024  # bytes

Provider = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}\n?\Z")]  # as the file has it, with its end of line
Blob = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_TSM)]


class TsmReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing in it is trusted yet."""

    provider: Provider  # sev_guest, tdx_guest
    outblob: Blob  # the report or quote
    auxblob: Blob | None = None  # of SEV-SNP: the certificate table


class _Json(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: Provider
    outblob: str
    auxblob: str | None = None


def parse_tsm_report(data: bytes) -> TsmReport:
    """A report in JSON, which begins with a brace, or in deterministic CBOR; at most 256 KiB.

    Raises:
        TooLarge, MalformedInput: not such a report.
    """
    if not data.lstrip().startswith(b"{"):
        return canonical.decode(data, TsmReport, limit=MAXIMUM_TSM)
    if len(data) > MAXIMUM_TSM:
        raise TooLarge(f"{len(data)} bytes, the cap is {MAXIMUM_TSM}")
    try:
        told = msgspec.json.decode(data, type=_Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not a TsmReport: {error}") from error
    auxblob = None if told.auxblob is None else base64url(told.auxblob)
    if not told.outblob or auxblob == b"":
        raise MalformedInput("not a TsmReport: an empty blob")
    return TsmReport(provider=told.provider, outblob=base64url(told.outblob), auxblob=auxblob)
