"""What a TPM's quote says, and what is measured into which PCR.

The words are those of the TPM 2.0 Library, part 2, tables 94, 125 and 132, and of the TCG PC Client Platform Firmware
Profile 1.06, section 3.3.4 (what each PCR is for).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cloister.cli.explained.page import Field, Page, Part, fields
from cloister.formats.event_log import SHA1, SHA256, SHA384, SHA512
from cloister.formats.tpm_quote import TpmQuote, parse_tpm2b_quote, parse_tpm_quote

BANKS: Final[Mapping[int, str]] = MappingProxyType({SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"})
PCRS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "the firmware's own code",
        1: "the firmware's and the platform's configuration",
        2: "code of option ROMs: firmware that devices bring along",
        3: "configuration of option ROMs",
        4: "the boot manager and what it started: the boot loader, the kernel",
        5: "the boot manager's configuration, and the partition table",
        6: "what the platform's maker has measured",
        7: "the policy of Secure Boot: its keys, and which of them were used",
        8: "the kernel's command line, or what the boot loader does (GRUB)",
        9: "files that the boot loader read; the initial ramdisk (Linux)",
        10: "files that the running system opened (IMA)",
        11: "the parts of a unified kernel image, and how far it booted (systemd)",
        12: "the kernel's configuration that was given from outside (systemd)",
        13: "extensions of the system's image (systemd); with Cloister the workload, by the measured loader",
        14: "keys and lists of the shim",
        15: "the machine's own secrets and volumes (systemd)",
        16: "free for debugging: anyone may reset it",
        23: "free for applications: anyone may reset it",
    }
)
_QUOTE: Final = MappingProxyType(
    {
        "qualified_signer": "qualifiedSigner: the Name of the key that signed, with those above it in the TPM.",
        "extra_data": "extraData: what the caller of TPM2_Quote gave: the answer to a challenge.",
        "clock": "clock: milliseconds for which the TPM has been powered in its life.",
        "reset_count": "resetCount: how often the machine was reset; a quote of another boot has another.",
        "restart_count": "restartCount: how often it was suspended since.",
        "safe": "safe: whether the clock is sure not to have gone back.",
        "firmware_version": "firmwareVersion: of the TPM, as its maker counts.",
        "pcr_digest": "pcrDigest: the hash over the selected PCRs' values, which travel beside the quote.",
    }
)


def explain_tpm_quote(data: bytes) -> Page:
    """A TPMS_ATTEST of type quote, as it is or sized as TPM2B_ATTEST.

    Raises:
        TooLarge, MalformedInput: not a quote.
    """
    quote = parse_tpm_quote(data) if data.startswith(b"\xffTCG") else parse_tpm2b_quote(data)
    return Page(format="tpm-quote", title="TPM 2.0 quote (TPMS_ATTEST)", parts=(quote_part(quote),))


def quote_part(quote: TpmQuote, *, by: str = "the TPM's attestation key, whose signature is in another file") -> Part:
    """A quote."""
    told = {name: getattr(quote, name) for name in _QUOTE} | {"firmware_version": f"{quote.firmware_version:#018x}"}
    selections = tuple(_selection(one.algorithm, one.pcrs) for one in quote.selections)
    return Part(name="tpm_quote", title="What the TPM says", signed_by=by, fields=(*selections, *fields(told, _QUOTE)))


def pcrs_part(values: Mapping[int, Mapping[int, bytes]]) -> Part:
    """The values beside a quote: what the quote's digest is recomputed from."""
    told = tuple(
        Field(name=f"pcr.{bank_name(bank)}.{index}", value=value.hex(), says=f"PCR {index}: {meaning_of(index)}.")
        for bank, bank_values in values.items()
        for index, value in sorted(bank_values.items())
    )
    by = "the TPM, by their digest in its quote, if that is of these values"
    return Part(name="pcrs", title="The PCRs' values, which travel beside the quote", signed_by=by, fields=told)


def meaning_of(index: int) -> str:
    """What is measured into a PCR."""
    return PCRS.get(index, "of a dynamic launch (DRTM), or not used")


def bank_name(algorithm: int) -> str:
    """A bank by its hash, or by its number."""
    return BANKS.get(algorithm, f"{algorithm:#06x}")


def _selection(algorithm: int, pcrs: tuple[int, ...]) -> Field:
    chosen = ", ".join(map(str, pcrs)) or "none"
    says = "pcrSelect: the PCRs of this bank that the quote is over. A quote over none proves none of them."
    return Field(name=f"pcr_select.{bank_name(algorithm)}", value=chosen, says=says)
