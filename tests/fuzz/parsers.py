"""Throw bytes at every parser: they are parsed, or refused as MalformedInput or TooLarge; anything else is a find.

`make fuzz` runs it, for FUZZ_SECONDS each (20 by default). Inputs are mutants of valid messages, since bytes from
nowhere hardly pass the first check. A find is printed with its input in hex, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
from tests.doubles.custody_records import SAMPLES
from tests.doubles.identity_records import IDENTITY_SAMPLES, NAME, read_any_authority, sample_authority, sample_identity
from tests.doubles.made_evidence import made_evidence
from tests.doubles.metadata_server import told
from tests.doubles.node_manifests import MANIFEST_FILE, sample_manifest, sample_state
from tests.doubles.section_world import sample_section
from tests.doubles.tdx_guest_device import answer
from tests.doubles.tpm_device import TpmDevice

from cloister.attest.certificates import parse_certificate
from cloister.attest.claims import token_claims
from cloister.attest.endorsements import describe
from cloister.attest.ocsp import parse_answer
from cloister.attest.request import sign_attestation_request
from cloister.attest.snp.endorsement_key import read_endorsement_key
from cloister.cli.explained.formats import explain
from cloister.cli.policy_examples import EXAMPLES, example_text
from cloister.client.transcript_events import TranscriptEvents
from cloister.contract.identity_certificate import read_identity
from cloister.crypto.cose import sign1
from cloister.crypto.hpke import KemPrivateKey, OpenFailed
from cloister.crypto.signing import SigningKey
from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Request
from cloister.engines.speech_vocabulary import parse_vocabulary
from cloister.engines.transcription_form import TranscriptionForm, read_form
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import binary_http, canonical, key_config, snp_report
from cloister.formats.add_checkpoint import AddCheckpoint, parse_add_checkpoint
from cloister.formats.appraisal_policy_file import (
    format_appraisal_policy,
    no_comment,
    parse_appraisal_policy,
    parse_verifier_policy,
)
from cloister.formats.attestation_request import parse_attestation_demand, parse_attestation_request
from cloister.formats.attestation_result import encode_attestation_result, parse_attestation_result
from cloister.formats.azure_evidence import parse_azure_buffers, parse_azure_evidence
from cloister.formats.azure_metadata import parse_chip_certificates, parse_td_quote_answer
from cloister.formats.azure_token import read_azure_token
from cloister.formats.binary_http_stream import RequestDecoder, ResponseDecoder
from cloister.formats.binary_http_view import view_request
from cloister.formats.checkpoint import (
    ED25519,
    Checkpoint,
    format_vkey,
    parse_checkpoint,
    parse_note,
    parse_signature_lines,
    parse_vkey,
)
from cloister.formats.confidential_space_token import read_confidential_space_token
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.cose_receipt import parse_receipt
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.deployment_state import parse_deployment_state
from cloister.formats.dice_certificate import parse_device_name, parse_fwids
from cloister.formats.endorsement_bundle import EndorsementBundle, encode_file, parse_bundle, parse_file
from cloister.formats.event_log import SHA256, parse_ccel_log, parse_event_log
from cloister.formats.evidence import parse_evidence, parse_software_report
from cloister.formats.foreign_cose import parse_foreign_sign1
from cloister.formats.governance import Vote, WitnessedTime, parse_vote, parse_witnessed_time
from cloister.formats.handover import (
    HandedOver,
    HandedSecret,
    Handover,
    NamedSecret,
    parse_handed_over,
    parse_handover,
)
from cloister.formats.hcl_report import declared_length, parse_hcl_report, parse_runtime_data
from cloister.formats.hpke_suite import X25519_HKDF_SHA256
from cloister.formats.hyper_protect import (
    EncryptedContract,
    EncryptedSection,
    format_encrypted_contract,
    parse_encrypted_contract,
)
from cloister.formats.hyper_protect_section import parse_hyper_protect_section
from cloister.formats.intel_collateral import parse_collateral, signed_document
from cloister.formats.intel_quote import parse_quote
from cloister.formats.jwk import parse_key_set
from cloister.formats.jws import parse_jws
from cloister.formats.jwt import parse_jwt, parse_jwt_members
from cloister.formats.key_bundle import parse_key_bundle, parse_state_head
from cloister.formats.key_config import KeyConfig
from cloister.formats.ledger_backup import BackupHead, BackupWriter, Kind, read_backup
from cloister.formats.ledger_batch import AppendedBatch, RefusedEntry, parse_batch, parse_batch_answers
from cloister.formats.ledger_messages import Appended, encode_list, parse_appended, parse_entries, parse_path
from cloister.formats.multipart import parse_multipart
from cloister.formats.named_token import NamedToken, parse_named_token
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.node_manifest import SentRevisions, parse_node_manifest, parse_sent_revisions
from cloister.formats.node_manifest_file import parse_manifest_file
from cloister.formats.nsm_message import NsmError, parse_attestation_answer
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.formats.nvidia_rim import parse_manifest, parse_rim_file
from cloister.formats.pck_certificate import parse_pck_extensions
from cloister.formats.policy_expression import compile_expression
from cloister.formats.qgs_message import QgsError, announced_length, parse_quote_answer
from cloister.formats.refusal import FailedCheck, Refusal, parse_refusal
from cloister.formats.release import parse_epoch, parse_kms_instance, parse_release
from cloister.formats.response_receipt import parse_response_receipt
from cloister.formats.runtime_log import parse_runtime_log
from cloister.formats.section import encode_section, parse_section
from cloister.formats.section_file import format_section_file, parse_section_file
from cloister.formats.snp_certificate_table import ARK, VCEK, parse_certificate_table
from cloister.formats.snp_certificate_table import declared_length as table_length
from cloister.formats.snp_tcb import Product
from cloister.formats.spiffe import SpiffeName
from cloister.formats.statement import parse_statement
from cloister.formats.tcb_info import parse_qe_identity, parse_tcb_info
from cloister.formats.tile import Tile, encode_entry_bundle, parse_entry_bundle, parse_tile_path
from cloister.formats.tlog_proof import TlogProof, parse_tlog_proof
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
from cloister.formats.trust_policy import format_trust_policy, parse_trust_policy
from cloister.formats.tsm_report import parse_tsm_report
from cloister.hosting.http_chunk_views import ChunkedBody
from cloister.hosting.http_chunks import ChunkDecoder
from cloister.hosting.http_head import parse_request_head, parse_response_head
from cloister.ledger.receipts import sign_consistency, sign_inclusion
from cloister.ohttp import chunked
from cloister.ohttp.encapsulation import KeyProblem, parse_header
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.secret import SecretBytes
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
from cloister.testing.made_tokens import MadeVerifier, attestation_result, verifier_policy
from cloister.testing.made_verifiers import (
    MadeAzure,
    MadeGoogle,
    confidential_space_claims,
    snp_guest_claims,
    trust_domain_claims,
)
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor, der
from cloister.testing.ocsp_answers import Responder
from cloister.testing.snp_hardware import SnpHardware
from cloister.testing.tdx_hardware import ENCLAVE, TdxHardware
from cloister.testing.tpm_hardware import MadeTpm
from cloister.testing.world import NOON, World, appraisal

FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\naudio\r\n--b--\r\n'
HYPER_PROTECT = EncryptedContract(*(EncryptedSection(bytes(256), bytes(8), bytes(32)).token(),) * 2, b"signature")
OHTTP_KEY = KemPrivateKey.generate(X25519_HKDF_SHA256)
FIELDS = {"model": "whisper-1", "temperature": "0.5", "language": "en", "response_format": "verbose_json"}
FIELDS |= {"timestamp_granularities[]": "word", "stream": "false", "chunking_strategy": "auto"}
TRANSCRIPTION = "".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in FIELDS.items()
).encode()
Parser = Callable[[bytes], Any]


def transcription_form(data: bytes) -> TranscriptionForm:
    """A form as the engine reads it, with its refusal as everyone else's."""
    headers = {"content-type": "multipart/form-data; boundary=b"}
    try:
        return read_form(Request("POST", "/v1/audio/transcriptions", headers, data), ("whisper-1",))
    except ApiError as error:
        raise MalformedInput(str(error)) from error


def targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """Every parser with valid messages to begin from."""
    world = World()
    bundle = world.bundle()
    logged = [*bundle.constitutions, *bundle.contracts, *bundle.epochs, *bundle.releases]
    payloads = {entry.index: parse_statement(entry.entry).payload for entry in logged}
    instance = parse_statement(world.log.entries[world.kms_entry]).payload
    shown = parse_evidence(bundle.evidence)
    request = binary_http.Request("POST", "https", "x", "/v1/a", (("content-type", "text/plain"),), b"body")
    framings = list(binary_http.Framing)
    response = binary_http.Response(200, (("date", "x"),), b"body")
    answered = Answered(summarise("POST", "/v1/a", "text/plain", b"body"), 200, bytes(32), bytes(32), NOON)
    core = sign_receipt(world.gateway.sign, answered, contract=bytes(32), epoch=bytes(32))
    named = NamedSecret(kind="epoch", name=bytes(32))
    handover = Handover(
        constitution=bytes(32), to=bytes(32), secrets=(named,), evidence=bytes(32), checks=("evidence.role",), at=NOON
    )
    handed = HandedOver(secrets=(HandedSecret(kind="epoch", name=bytes(32), secret=bytes(32)),))
    return {
        "transcription_form": (transcription_form, [TRANSCRIPTION + FORM]),
        "key_bundle": (parse_key_bundle, [canonical.encode(bundle)]),
        "statement": (parse_statement, [entry.entry for entry in logged]),
        "constitution": (parse_constitution, [payloads[0]]),
        "contract": (parse_contract, [payloads[1]]),
        "kms": (parse_kms_instance, [instance]),
        "epoch": (parse_epoch, [payloads[3]]),
        "release": (parse_release, [payloads[4]]),
        "vote": (parse_vote, [canonical.encode(Vote(proposal=bytes(32), choice="veto"))]),
        "time": (parse_witnessed_time, [canonical.encode(WitnessedTime(note=bundle.checkpoint))]),
        "handover": (parse_handover, [canonical.encode(handover)]),
        "handed_over": (parse_handed_over, [canonical.encode(handed)]),
        "evidence": (parse_evidence, [bundle.evidence]),
        "software_report": (parse_software_report, [CoseSign1.parse(shown.report).payload or b""]),
        "state_head": (parse_state_head, [CoseSign1.parse(bundle.head).payload or b""]),
        "response_receipt": (parse_response_receipt, [CoseSign1.parse(core).payload or b""]),
        "cose_sign1": (CoseSign1.parse, [bundle.head, shown.report, core]),
        "note": (lambda data: parse_checkpoint(parse_note(data).text), [bundle.checkpoint]),
        "key_config": (key_config.decode_list, [key_config.encode_list([key_config.decode(world.epoch.key_config)])]),
        "binary_request": (
            binary_http.decode_request,
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "binary_request_view": (
            lambda data: view_request(memoryview(data)),
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "chunk_views": (
            lambda data: ChunkedBody().feed(memoryview(data)),
            [b"3\r\nabc\r\n0\r\n\r\n"],
        ),
        "binary_response": (
            binary_http.decode_response,
            [binary_http.encode(response, framing=framing) for framing in framings],
        ),
        "request_pieces": (
            lambda data: in_pieces(RequestDecoder(), data),
            [binary_http.encode(request, framing=framing) for framing in framings],
        ),
        "response_pieces": (
            lambda data: in_pieces(ResponseDecoder(), data),
            [binary_http.encode(response, framing=framing) for framing in framings],
        ),
        "chunked_request": (open_chunks, [chunked_request(b"first", b"second", b"last")]),
        **ledger_targets(bundle.checkpoint),
        **log_targets(),
        **tpm_targets(),
        **azure_targets(),
        **intel_targets(),
        **nvidia_targets(),
        **endorsement_targets(),
        **{
            parse.__name__: (parse, [canonical.encode(record)])
            for parse, record in (SAMPLES | IDENTITY_SAMPLES).items()
        },
        "authority": (read_any_authority, [sample_authority()]),
        "identity": (read_identity, [sample_identity()]),
        "spiffe_name": (lambda data: SpiffeName.parse(data.decode("latin-1")), [str(NAME).encode()]),
        "section_file": (
            lambda data: parse_section_file(SecretBytes(data)),
            [format_section_file(sample_section("workload"), comment=no_comment).reveal()],
        ),
        "hyper_protect": (parse_encrypted_contract, [format_encrypted_contract(HYPER_PROTECT).encode()]),
        "hyper_protect_section": (
            lambda data: parse_hyper_protect_section(SecretBytes(data)),
            [b"type: env\nlogging:\n  x: y\nsigningKey: |\n  A\nenv:\n  A: 'it''s'\n  B: \"b\"\n  C: plain\n"],
        ),
        "node_manifest": (parse_node_manifest, [canonical.encode(sample_manifest())]),
        "node_manifest_file": (parse_manifest_file, [MANIFEST_FILE.encode()]),
        "deployment_state": (parse_deployment_state, [msgspec.json.encode(sample_state())]),
        "sent_revisions": (parse_sent_revisions, [canonical.encode(SentRevisions(revisions=(b"signed",)))]),
        "section": (
            lambda data: parse_section(SecretBytes(data)),
            [encode_section(sample_section("workload")).reveal()],
        ),
        "nsm_answer": (nsm_answer, [cbor2.dumps({"Attestation": {"document": b"signed"}})]),
        "nitro_document": (parse_nitro_document, [MadeNitro(NOON).document()]),
        "tsm_report": (parse_tsm_report, [made_evidence()[name] for name in ("tsm-report", "tsm-report:cbor")]),
        "appraisal_policy_file": (parse_appraisal_policy, [example_text(name).encode() for name in EXAMPLES]),
        "policy_expression": (
            lambda data: compile_expression(data.decode("latin-1")),
            [
                b"reported_tcb.snp >= 24 && (product == 'Milan' || !policy.smt)",
                b'size(a) in [1, -0x2] && b.endsWith("c")',
            ],
        ),
        "explained": (explain, list(made_evidence().values())),
        **http_targets(),
        **snp_targets(),
        **token_targets(),
        "multipart": (lambda data: parse_multipart(data, "multipart/form-data; boundary=b"), [FORM]),
        "trust_policy": (parse_trust_policy, [format_trust_policy(world.policy(), comment="").encode()]),
    }


def token_targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """What a verifier signs, and its keys."""
    verifier, result, world = MadeVerifier(), attestation_result(SigningKey.generate()), World()
    shown = parse_evidence(world.bundle().evidence)
    policy = format_appraisal_policy(verifier_policy(appraisal(SigningKey.generate()), "kms"), comment=no_comment)
    request = sign_attestation_request(world.kms.sign, shown, policy="p", audience="a", nonce=bytes(32))
    failed = (FailedCheck(check="release.role", shortfall="the contract names no clerk"),)
    refused = Refusal(
        subject=bytes(32),
        number=1,
        role="gateway",
        wanted="assets",
        failed=failed,
        evidence=bytes(32),
        node=bytes(32),
        at=NOON,
        omitted=7,
    )
    microsoft, google = MadeAzure(), MadeGoogle()
    told = [snp_guest_claims(bytes(64)), trust_domain_claims(bytes(64)), confidential_space_claims("00" * 32)]
    claims = [msgspec.json.encode(one) for one in told]
    tokens = [microsoft.token(told[0]), google.token(told[2], x5c=google.chain())]
    return {
        "attestation_result": (parse_attestation_result, [encode_attestation_result(result)]),
        "attestation_request": (parse_attestation_request, [canonical.encode(request)]),
        "attestation_demand": (parse_attestation_demand, [CoseSign1.parse(request.demand).payload or b""]),
        "jws": (parse_jws, [verifier.token(result)]),
        "jwk_set": (parse_key_set, [verifier.key_set]),
        "jwt": (parse_jwt, tokens),
        "azure_token": (lambda data: read_azure_token(parse_jwt_members(data)), claims[:2]),
        "confidential_space_token": (lambda data: read_confidential_space_token(parse_jwt_members(data)), claims[2:]),
        "token_claims": (lambda data: token_claims(parse_jwt_members(data)), claims),
        "refusal": (parse_refusal, [canonical.encode(refused)]),
        "named_token": (parse_named_token, [canonical.encode(NamedToken(verifier="azure", token=tokens[0]))]),
        "verifier_policy": (parse_verifier_policy, [policy.encode()]),
    }


def snp_targets() -> dict[str, tuple[Parser, list[bytes]]]:
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


def in_pieces(decoder: RequestDecoder | ResponseDecoder, data: bytes) -> None:
    """Feed a message in pieces of every size, the shortest first."""
    at = size = 0
    while at < len(data):
        size += 1
        decoder.feed(data[at : at + size])
        at += size
    decoder.end()


def chunked_request(*chunks: bytes) -> bytes:
    """A chunked request to `OHTTP_KEY`, with its head."""
    sealer, _ = chunked.encapsulate(KeyConfig(1, OHTTP_KEY.kem, OHTTP_KEY.public))
    return b"".join([sealer.head, *map(sealer.seal, chunks[:-1]), sealer.finish(chunks[-1])])


def open_chunks(data: bytes) -> None:
    """Open it as a gateway does; chunks that do not open are refused like malformed ones."""
    size = chunked.head_size(parse_header(data)) if data[1:3] == b"\x00\x20" else len(data)
    try:
        opener, _ = chunked.open_request(OHTTP_KEY, 1, data[:size], nonce=bytes(16))
        room = memoryview(bytearray(chunked.MAXIMUM_CHUNK))
        for _ in opener.feed_into(data[size:], room):
            pass
        opener.end_into(room)
    except (OpenFailed, KeyProblem) as error:
        raise MalformedInput(str(error)) from error


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


def azure_targets() -> dict[str, tuple[Parser, list[bytes]]]:
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


def tpm_targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """What a TPM signs and says of its key."""
    tpms = [MadeTpm({SHA256: {0: bytes(32)}}), MadeTpm({SHA256: {7: bytes(32)}}, scheme=RSASSA)]
    quotes = [tpm.quote(b"nonce") for tpm in tpms]
    return {
        "tpm_quote": (parse_tpm_quote, quotes),
        "tpm_answer": (tpm_answer, tpm_answers()),
        "tpm_signature": (parse_tpm_signature, [tpm.sign(quote) for tpm, quote in zip(tpms, quotes, strict=True)]),
        "tpm_public": (parse_tpm_public, [tpm.public for tpm in tpms]),
    }


def log_targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """The event logs of TPMs and TDs."""
    log = encode_event_log([startup_locality(3), firmware_event(1, b"loader")])
    ccel = encode_ccel(len(log) + 9) + log + b"\xff" * 9
    return {
        "event_log": (parse_event_log, [log]),
        "ccel_log": (lambda data: parse_ccel_log(data[:56], data[56:]), [ccel]),
        "runtime_log": (parse_runtime_log, [encode_runtime_log([runtime_event(3, "app-id", b"id")])]),
    }


def intel_targets() -> dict[str, tuple[Parser, list[bytes]]]:
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


def nvidia_targets() -> dict[str, tuple[Parser, list[bytes]]]:
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


def endorsement_targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """What a store keeps of what vendors say, and bundles of it; what parses has to describe itself."""
    kept = MadeVendors(NOON).all()
    return {
        "endorsement_bundle": (
            lambda data: [describe(one) for one in parse_bundle(data).kept],
            [canonical.encode(EndorsementBundle(kept=(one,))) for one in kept],
        ),
        "endorsement_file": (parse_file, [encode_file(one) for one in kept]),
    }


def ledger_targets(note: bytes) -> dict[str, tuple[Parser, list[bytes]]]:
    """The parsers between log, witnesses and those who ask them."""
    path, key, head = (bytes(32),) * 3, SigningKey.generate(), Checkpoint("log.test", 7, bytes(32))
    lines = note.partition(b"\n\n")[2]
    vkey = format_vkey("log.test", bytes(32), kind=ED25519)
    refused = RefusedEntry(position=1, reason="malformed", detail="is none")
    return {
        "add_checkpoint": (parse_add_checkpoint, [AddCheckpoint(3, path, note).encode()]),
        "signature_lines": (parse_signature_lines, [lines]),
        "vkey": (lambda data: parse_vkey(data.decode("latin-1")), [vkey.encode()]),
        "receipt": (parse_receipt, [sign_inclusion(key, head, 2, path), sign_consistency(key, head, 3, path)]),
        "appended": (parse_appended, [canonical.encode(Appended(index=7, checkpoint=note, path=path))]),
        "backup": (lambda data: [*read_backup(io.BytesIO(data).read)], [_backup()]),
        "batch": (parse_batch, [encode_list([b"one", b"two"])]),
        "batch_answers": (
            lambda data: parse_batch_answers(data, number=2),
            [canonical.encode(AppendedBatch(checkpoint=note, indices=(7,), paths=(path,), refused=(refused,)))],
        ),
        "entries": (parse_entries, [encode_list([b"one", b"two"])]),
        "path": (parse_path, [encode_list(path)]),
        "tile_path": (lambda data: parse_tile_path(data.decode("latin-1")), [b"tile/entries/x001/234.p/255"]),
        "foreign_sign1": (
            lambda data: parse_foreign_sign1(data, limit=65_535),
            [sign1(key, b"payload", content_type="text/plain"), sign_inclusion(key, head, 2, path)],
        ),
        "tlog_proof": (parse_tlog_proof, [TlogProof(3, path, note, extra).encode() for extra in (None, b"extra")]),
        "entry_bundle": (
            lambda data: parse_entry_bundle(data, Tile(0, 0, 2)),
            [encode_entry_bundle([b"one", b"two"])],
        ),
    }


def http_targets() -> dict[str, tuple[Parser, list[bytes]]]:
    """The heads of HTTP/1.1 messages, under each framing, and bodies in chunks."""
    framings = (b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: keep-alive, x")
    return {
        "vocabulary": (parse_vocabulary, [b"metoprolol M AH T OW P R AH L AO L\n# more\nx-ray EH K S R EY\n"]),
        "transcript_events": (
            lambda data: TranscriptEvents().feed(data),
            [b'data: {"type": "transcript.text.delta", "delta": "x"}\n\ndata: {"error": {"message": ""}}\r\n\r\n'],
        ),
        "http_chunks": (
            lambda data: ChunkDecoder().feed(data),
            [b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nA: b\r\n\r\n"],
        ),
        "http_request_head": (
            parse_request_head,
            [b"POST /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\n%b\r\n\r\nabc" % line for line in framings],
        ),
        "http_response_head": (
            parse_response_head,
            [b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n%b\r\n\r\nabc" % line for line in framings],
        ),
    }


def _backup() -> bytes:
    file = io.BytesIO()
    writer = BackupWriter(file.write, BackupHead(origin="log.test", key=bytes(32)))
    for kind, body in ((Kind.ENTRY, b"entry"), (Kind.CHECKPOINT, b"note"), (Kind.BLOB, b"blob")):
        writer.add(kind, body)
    writer.end()
    return file.getvalue()


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four small changes: bits, bytes, lengths, cuts, repeats."""
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutant) + 1) if mutant else 0
        match chance.randrange(6):
            case 0 if mutant:
                mutant[at % len(mutant)] ^= 1 << chance.randrange(8)
            case 1 if mutant:
                mutant[at % len(mutant)] = chance.choice((0, 1, 0x1F, 0x5F, 0x7F, 0x80, 0x9F, 0xBF, 0xFF))
            case 2:
                mutant[at:at] = chance.randbytes(chance.randint(1, 9))
            case 3:
                del mutant[at : at + chance.randint(1, 9)]
            case 4:
                mutant[at:at] = mutant[at : at + chance.randint(1, 64)]
            case _:
                del mutant[at:]
    return bytes(mutant)


def fuzz(name: str, parse: Parser, seeds: list[bytes], *, seconds: float, chance: random.Random) -> tuple[int, int]:
    """Run one parser for `seconds`; how many inputs it got, and how many of them it parsed."""
    for seed in seeds:
        parse(seed)
    inputs = parsed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(chance.choice(seeds), chance)
        inputs += 1
        try:
            parse(data)
            parsed += 1
        except (MalformedInput, TooLarge):
            continue
        except BaseException:
            print(f"\n{name}: found with {data.hex()}", file=sys.stderr)
            raise
    return inputs, parsed


def main() -> None:
    """Fuzz every parser in turn, and say how many inputs each got."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each parser")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="to repeat a run")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    print(f"seed {given.seed}, {given.seconds} s a parser")
    for name, (parse, seeds) in targets().items():
        inputs, parsed = fuzz(name, parse, seeds, seconds=given.seconds, chance=chance)
        print(f"{name:20} {inputs:9,} inputs, {parsed:7,} parsed, no find", flush=True)


if __name__ == "__main__":
    main()
