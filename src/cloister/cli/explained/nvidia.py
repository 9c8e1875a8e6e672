"""What reports of NVIDIA's GPUs and switches, their envelopes, and the manifests to hold them against say.

The words are those of DMTF DSP0274 1.1, section 10.11, of TCG's RIM information model 1.01, and of NVIDIA's nvtrust
and Attestation SDK, which publish the fields of the opaque data.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.page import Field, Page, Part, fields
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.nvidia_envelope import EnvelopedDevice, parse_nvidia_envelope
from cloister.formats.nvidia_report import FIELD_NAMES, VBIOS_VERSION, NvidiaReport, parse_nvidia_report
from cloister.formats.nvidia_rim import claimed_manifest, parse_rim_file

_KINDS: Final = MappingProxyType(
    {
        0: "immutable ROM",
        1: "mutable firmware",
        2: "hardware configuration",
        3: "firmware configuration",
    }
)
_SAYS: Final = MappingProxyType(
    {
        "nonce": "The 32 bytes that the device was asked with: its answer to a challenge.",
        "slot": "Which of its certificate chains the device signed with.",
        "response_nonce": "32 random bytes of the device's own.",
        "architecture": "Which devices, as the envelope says.",
        "envelope_nonce": "The nonce, as the envelope says; the report's own counts.",
        "product": "The chip that the manifest is for.",
        "edition": "GPU or SWITCH.",
        "version": "The driver's or the VBIOS's version that it is for.",
    }
)


def explain_nvidia_report(data: bytes) -> Page:
    """A report: the request and its response.

    Raises:
        TooLarge, MalformedInput: not such a report.
    """
    part = _report(parse_nvidia_report(data), "report")
    return Page(format="nvidia-report", title="NVIDIA attestation report (SPDM 1.1 MEASUREMENTS)", parts=(part,))


def explain_nvidia_envelope(data: bytes) -> Page:
    """The JSON in which NVIDIA's tools carry evidence.

    Raises:
        TooLarge, MalformedInput: not such an envelope.
    """
    parts = tuple(
        part for at, device in enumerate(parse_nvidia_envelope(data)) for part in _device(device, f"devices.{at}")
    )
    return Page(format="nvidia-envelope", title="NVIDIA evidence of one machine's devices", parts=parts)


def explain_rim(data: bytes) -> Page:
    """A reference integrity manifest.

    Raises:
        TooLarge, MalformedInput: not a manifest of NVIDIA's profile.
    """
    file = parse_rim_file(data)
    manifest = claimed_manifest(file)
    told = fields({name: getattr(manifest, name) for name in ("product", "edition", "version")}, _SAYS)
    measured = tuple(
        Field(
            name=f"measurements.{index}",
            value=" ".join(one.hex() for one in alternatives),
            says=f"Index {index}: {_alternatives(len(alternatives))}; of a report it is measurement {index + 1}.",
        )
        for index, alternatives in sorted(manifest.measurements.items())
    )
    by = "the key of the signer below, if the signature holds"
    parts = [Part(name="manifest", title="What is to be measured", signed_by=by, fields=(*told, *measured))]
    parts += [chain_part(one, name=f"signer.{at}") for at, one in enumerate(file.certificates)]
    return Page(format="nvidia-rim", title="NVIDIA reference integrity manifest (RIM)", parts=tuple(parts))


def _device(device: EnvelopedDevice, name: str) -> tuple[Part, ...]:
    said = fields({"architecture": device.architecture, "envelope_nonce": device.nonce}, _SAYS)
    envelope = Part(name=f"{name}.envelope", title="What the envelope says", signed_by=None, fields=said)
    try:
        report = _report(parse_nvidia_report(device.report), f"{name}.report")
    except (MalformedInput, TooLarge) as error:
        told = fields({"malformed": str(error)}, {"malformed": "What is wrong with the report."})
        report = Part(name=f"{name}.report", title="A report that cannot be read", signed_by=None, fields=told)
    return envelope, report, chain_part(device.chain, name=f"{name}.chain")


def _report(report: NvidiaReport, name: str) -> Part:
    signed = report.signed
    first = fields({"nonce": signed.nonce, "slot": signed.slot, "response_nonce": signed.response_nonce}, _SAYS)
    opaque = tuple(
        Field(name=f"opaque.{field}", value=opaque_text(field, value), says=_opaque_says(field))
        for field, value in signed.opaque.items()
    )
    measurements = tuple(
        Field(
            name=f"measurements.{index}",
            value=one.value.hex(),
            says=f"Measurement {index} ({_KINDS.get(one.kind, f'kind {one.kind}')}), {_form(raw=one.raw)};"
            f" manifests have it at index {index - 1}.",
        )
        for index, one in sorted(signed.measurements.items())
    )
    by = "the key of the device's leaf certificate, if the signature holds"
    return Part(name=name, title="What the device says", signed_by=by, fields=(*first, *opaque, *measurements))


def _alternatives(count: int) -> str:
    return "what is to be found there" if count == 1 else f"one of these {count} is to be found there"


def _form(*, raw: bool) -> str:
    return "the value itself" if raw else "a digest"


def _opaque_says(field: int) -> str:
    known = FIELD_NAMES.get(field)
    return f"Field {field} of NVIDIA's opaque data: {known or 'which NVIDIA does not describe'}."


def opaque_text(field: int, value: bytes) -> str:
    """Text where it is text; the VBIOS as it is written; else bytes."""
    if field == VBIOS_VERSION and len(value) >= 5 and not any(value[5:]):
        return ".".join(f"{byte:02X}" for byte in (*value[3::-1], value[4]))
    text = value.rstrip(b"\0")
    return text.decode("ascii") if text and all(0x20 < byte < 0x7F for byte in text) else value.hex()
