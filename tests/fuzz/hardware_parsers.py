"""What hardware, and those who vouch for it, sign and send."""

from __future__ import annotations

import cbor2
import msgspec
from tests.doubles.made_evidence import made_evidence
from tests.doubles.metadata_server import told
from tests.doubles.tdx_guest_device import answer
from tests.doubles.tpm_device import TpmDevice
from tests.fuzz.target import Targets

from cloister.attest.certificates import parse_certificate
from cloister.attest.endorsements import describe
from cloister.attest.ocsp import parse_answer
from cloister.attest.snp.endorsement_key import read_endorsement_key
from cloister.errors import MalformedInput
from cloister.formats import canonical, snp_report
from cloister.formats.azure_evidence import parse_azure_buffers, parse_azure_evidence
from cloister.formats.azure_metadata import parse_chip_certificates, parse_td_quote_answer
from cloister.formats.dice_certificate import parse_device_name, parse_fwids
from cloister.formats.endorsement_bundle import EndorsementBundle, encode_file, parse_bundle, parse_file
from cloister.formats.event_log import SHA256, parse_ccel_log, parse_event_log
from cloister.formats.hcl_report import declared_length, parse_hcl_report, parse_runtime_data
from cloister.formats.intel_collateral import parse_collateral, signed_document
from cloister.formats.intel_quote import parse_quote
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.nsm_message import NsmError, parse_attestation_answer
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.formats.nvidia_rim import parse_manifest, parse_rim_file
from cloister.formats.pck_certificate import parse_pck_extensions
from cloister.formats.qgs_message import QgsError, announced_length, parse_quote_answer
from cloister.formats.runtime_log import parse_runtime_log
from cloister.formats.snp_certificate_table import ARK, VCEK, parse_certificate_table
from cloister.formats.snp_certificate_table import declared_length as table_length
from cloister.formats.snp_tcb import Product
from cloister.formats.tcb_info import parse_qe_identity, parse_tcb_info
from cloister.formats.tpm_command import (
    NvPublic,
    TpmError,
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
from cloister.formats.tpm_quote import RSASSA, parse_tpm_public, parse_tpm_quote, parse_tpm_signature
from cloister.formats.tsm_report import parse_tsm_report
from cloister.testing.azure_hardware import azure_evidence, hcl_report, runtime_data
from cloister.testing.certificates import Life
from cloister.testing.event_logs import (
    encode_ccel,
    encode_event_log,
    encode_runtime_log,
    firmware_event,
    runtime_event,
    startup_locality,
)
from cloister.testing.made_endorsements import MadeVendors
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, der
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import ENCLAVE, TdxHardware
from cloister.testing.tpm_hardware import MadeTpm
from cloister.testing.world import NOON


def hardware_targets() -> Targets:
    """Of every kind of hardware."""
    return {
        "nsm_answer": (nsm_answer, [cbor2.dumps({"Attestation": {"document": b"signed"}})]),
        "nitro_document": (parse_nitro_document, [MadeNitro(NOON).document()]),
        "tsm_report": (parse_tsm_report, [made_evidence()[name] for name in ("tsm-report", "tsm-report:cbor")]),
        **snp_targets(),
        **tpm_targets(),
        **azure_targets(),
        **log_targets(),
        **intel_targets(),
        **nvidia_targets(),
        **endorsement_targets(),
    }


def snp_targets() -> Targets:
    """Reports of every product and version, certificate tables, and endorsement keys."""
    chips = [SnpHardware(product) for product in Product]
    body = b"root" + b"chip"
    head = b"".join(
        kind.bytes + at.to_bytes(4, "little") + (4).to_bytes(4, "little") for kind, at in ((ARK, 72), (VCEK, 76))
    )
    return {
        "snp_report": (
            snp_report.parse_snp_report,
            [chip.sign(chip.report(version)) for chip in chips for version in (2, 5)],
        ),
        "snp_certificate_table": (parse_certificate_table, [head + bytes(24) + body]),
        "snp_certificate_buffer": (
            lambda data: parse_certificate_table(data[: table_length(data)]),
            [head + bytes(24) + body + bytes(9)],
        ),
        "snp_endorsement_key": (
            lambda data: read_endorsement_key(parse_certificate(data)),
            [
                chip.certificate(kind)
                for chip in chips
                for kind in (snp_report.SigningKey.VCEK, snp_report.SigningKey.VLEK)
            ],
        ),
    }


def tpm_targets() -> Targets:
    """What a TPM signs and says of its key."""
    tpms = [MadeTpm({SHA256: {0: bytes(32)}}), MadeTpm({SHA256: {7: bytes(32)}}, scheme=RSASSA)]
    quotes = [tpm.quote(b"nonce") for tpm in tpms]
    return {
        "tpm_quote": (parse_tpm_quote, quotes),
        "tpm_answer": (tpm_answer, tpm_answers()),
        "tpm_signature": (parse_tpm_signature, [tpm.sign(quote) for tpm, quote in zip(tpms, quotes, strict=True)]),
        "tpm_public": (parse_tpm_public, [tpm.public for tpm in tpms]),
    }


def azure_targets() -> Targets:
    """What an Azure confidential VM sends."""
    reports = [hcl_report(bytes(1184), runtime_data()), hcl_report(bytes(1024), runtime_data(), tdx=True)]
    beside = [{"vcek": b"vcek"}, {"td_quote": b"quote"}]
    sent = [azure_evidence(hcl, b"nonce", beside=one) for hcl, one in zip(reports, beside, strict=True)]
    return {
        "hcl_report": (parse_hcl_report, reports),
        "runtime_data": (parse_runtime_data, [runtime_data()]),
        "azure_evidence": (parse_azure_evidence, sent),
        "hcl_in_index": (lambda data: parse_hcl_report(data[: declared_length(data)]), [reports[0] + bytes(9)]),
        "chip_certificates": (parse_chip_certificates, [told()]),
        "td_quote_answer": (parse_td_quote_answer, [b'{"quote": "AAAA"}']),
        "azure_buffers": (parse_azure_buffers, sent[:1]),
    }


def log_targets() -> Targets:
    """The event logs of TPMs and TDs."""
    log = encode_event_log([startup_locality(3), firmware_event(1, b"loader")])
    ccel = encode_ccel(len(log) + 9) + log + b"\xff" * 9
    return {
        "event_log": (parse_event_log, [log]),
        "ccel_log": (lambda data: parse_ccel_log(data[:56], data[56:]), [ccel]),
        "runtime_log": (parse_runtime_log, [encode_runtime_log([runtime_event(3, "app-id", b"id")])]),
    }


def intel_targets() -> Targets:
    """Intel's quotes, and what it takes to judge them."""
    hardware = TdxHardware(at=NOON)
    collateral = hardware.collateral()
    document = b'{"tcbInfo":%b,"signature":"%b"}' % (collateral.tcb_info.encode(), b"ab" * 64)
    quotes = [hardware.quote(), hardware.quote(version=4), hardware.quote(ENCLAVE, version=3)]
    return {
        "intel_quote": (parse_quote, quotes),
        "qgs_answer": (qgs_answer, [answer(b"quote")]),
        "intel_collateral": (parse_collateral, [msgspec.json.encode(collateral)]),
        "intel_document": (lambda data: signed_document(data, "tcbInfo"), [document]),
        "pck_extensions": (parse_pck_extensions, [hardware.extensions()]),
        "tcb_info": (parse_tcb_info, [collateral.tcb_info.encode()]),
        "qe_identity": (parse_qe_identity, [collateral.qe_identity.encode()]),
    }


def nvidia_targets() -> Targets:
    """What NVIDIA's devices and NVIDIA itself hand out, and what its responders answer."""
    vendor = NvidiaVendor(Life(NOON - 1000, NOON + 1000))
    device, rim = MadeDevice(vendor=vendor), MadeRim(version="550.90.07", measurements={7: [bytes(48)]})
    layer = der(0x30, bytes.fromhex("0609608648016503040202") + der(0x04, b"x" * 48))
    entry = {"arch": "HOPPER", "nonce": "00" * 32, "evidence": "QUI=", "certificate": "QUI="}
    return {
        "nvidia_report": (parse_nvidia_report, [device.report(bytes(32))]),
        "nvidia_rim_file": (parse_rim_file, [rim.file(vendor.rim_signer)]),
        "nvidia_manifest": (parse_manifest, [rim.document().encode()]),
        "nvidia_envelope": (parse_nvidia_envelope, [msgspec.json.encode([entry])]),
        "dice_fwids": (parse_fwids, [der(0x30, der(0xA6, layer))]),
        "dice_device_name": (parse_device_name, [der(0x0C, b"NVIDIA:GH100:48B0")]),
        "ocsp_answer": (
            parse_answer,
            vendor.rim_answers(Responder(life=vendor.life, delegated=True)),
        ),
    }


def endorsement_targets() -> Targets:
    """What a store keeps of what vendors say, and bundles of it; what parses has to describe itself."""
    kept = MadeVendors(NOON).all()
    return {
        "endorsement_bundle": (
            lambda data: [describe(one) for one in parse_bundle(data).kept],
            [canonical.encode(EndorsementBundle(kept=(one,))) for one in kept],
        ),
        "endorsement_file": (parse_file, [encode_file(one) for one in kept]),
    }


def nsm_answer(data: bytes) -> bytes:
    """What a Nitro Security Module answers; that it says no is no find."""
    try:
        return parse_attestation_answer(data)
    except NsmError as error:
        raise MalformedInput(str(error)) from error


def qgs_answer(data: bytes) -> bytes:
    """What a quote generation service answers; that it says no is no find."""
    try:
        return parse_quote_answer(data[4 : 4 + announced_length(data[:4])])
    except QgsError as error:
        raise MalformedInput(str(error)) from error


def tpm_answer(data: bytes) -> None:
    """An answer to each of the commands that evidence needs; that it says no is no find."""
    parsers = (parse_nv_public, parse_nv_data, parse_public_area, parse_pcr_values, parse_quoted)
    refused = 0
    for parse in parsers:
        try:
            parse(data)
        except (MalformedInput, TpmError):
            refused += 1
    if refused == len(parsers):
        raise MalformedInput("an answer to none of them")


def tpm_answers() -> list[bytes]:
    """What a TPM answers to each command."""
    device = TpmDevice(nv={7: b"kept"})
    public = NvPublic(7, 1 << 18, 4)
    commands = [nv_read_public(7), nv_read(public, offset=0, size=4), read_public(device.keys[0])]
    commands += [pcr_read(SHA256, range(8)), quote(device.keys[0], b"nonce", bank=SHA256, pcrs=range(8))]
    return [device.write(command) and device.read(4096) for command in commands]
