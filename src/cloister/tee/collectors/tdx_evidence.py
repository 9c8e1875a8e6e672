"""A TD quote out of the buffer in which the kernel or a host's service hands it over."""

from __future__ import annotations

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.intel_quote import TEE_TDX, declared_length, parse_quote
from cloister.tee.collectors.collected import Collected, TeeFault


def collected_tdx(buffer: bytes, report_data: bytes) -> Collected:
    """The quote at the head of `buffer`: real buffers are longer, and what lies behind is nobody's.

    Raises:
        TeeFault: `buffer` holds no quote of a TD, or one that answers somebody else; a TDREPORT is named as such.
    """
    quote = quote_in(buffer)
    if parse_quote(quote).body.report_data != report_data:
        raise TeeFault("the TD quote carries other report data than was asked for: it answers somebody else")
    return Collected(quote)


def quote_in(buffer: bytes) -> bytes:
    """The quote of a TD at the head of `buffer`, as long as it says.

    Raises:
        TeeFault: there is none.
    """
    try:
        quote = buffer[: declared_length(buffer)]
        parsed = parse_quote(quote)
    except (MalformedInput, TooLarge) as error:
        raise TeeFault(f"what came for a TD quote is none: {error}") from error
    if parsed.header.tee_type != TEE_TDX:
        raise TeeFault("what came for a TD quote is a quote of an SGX enclave")
    return quote
