"""Made-up evidence of every format that `cloister evidence show` knows, each good, by the name of its format."""

import base64
import functools
import json

import cbor2
import msgspec

from cloister.formats import canonical
from cloister.formats.event_log import SHA256
from cloister.formats.evidence import parse_evidence
from cloister.formats.snp_certificate_table import ARK, ASK, CRL, VCEK
from cloister.formats.snp_report import SigningKey
from cloister.formats.snp_tcb import Product
from cloister.testing.azure_hardware import azure_evidence, hcl_report, report_data_of, runtime_data
from cloister.testing.event_logs import encode_ccel, encode_event_log, encode_runtime_log, firmware_event, runtime_event
from cloister.testing.made_verifiers import MadeGoogle, confidential_space_claims, evidence_by
from cloister.testing.nitro_hardware import MadeNitro
from cloister.testing.nvidia_hardware import MadeDevice, MadeRim, NvidiaVendor
from cloister.testing.snp_hardware import LIFE, SnpHardware, certificate_table
from cloister.testing.tdx_hardware import ENCLAVE, TdxHardware
from cloister.testing.tpm_hardware import MadeTpm, sized
from cloister.testing.world import NOON, World

CHIP, TURIN = SnpHardware(), SnpHardware(Product.TURIN)


def auxblob():
    """What the chip's host gives."""
    vcek, *above = CHIP.endorsements(SigningKey.VCEK).chain
    return certificate_table({VCEK: vcek, ASK: above[0], ARK: above[-1], CRL: b"a list"})


def tsm(report, certificates=None):
    """A configfs-tsm report's members."""
    made = {"provider": "sev_guest\n", "outblob": report}
    return made if certificates is None else made | {"auxblob": certificates}


def tsm_json(members):
    """The same in JSON."""
    text = {k: base64.urlsafe_b64encode(v).decode() if isinstance(v, bytes) else v for k, v in members.items()}
    return json.dumps(text).encode()


def vouched():
    """Evidence by Google's word, with a chain."""
    world, google = World(), MadeGoogle()
    shown = parse_evidence(world.bundle().evidence)
    claims = confidential_space_claims(shown.binding.qualifying_data().hex())
    claims |= {"https://aws.test/tags": {"a b": 1, "a_b": 2}, "\x1b[31m": "red", "": None}
    token = google.token(claims, x5c=google.chain())
    return evidence_by("google", token, shown.binding, shown.settings, shown.keys)


@functools.cache
def made_evidence():
    """By the name that `show --json` gives the format, with a second of a format behind a colon."""
    snp, tdx = CHIP.sign(CHIP.report()), TdxHardware(at=NOON)
    vendor = NvidiaVendor(LIFE)
    device = MadeDevice(vendor=vendor)
    runtime = encode_runtime_log([runtime_event(3, "app-id", b"id")])
    hcl = hcl_report(snp, runtime_data())
    entry = {"arch": "HOPPER", "nonce": "ab" * 32}
    entry |= {"evidence": base64.b64encode(device.report(b"\xab" * 32)).decode()}
    entry |= {"certificate": base64.b64encode(device.chain()).decode()}
    record = {"quote": tdx.quote(version=4).hex(), "event_log": runtime.decode(), "vm_config": "{}"}
    return {
        "snp-report": snp,
        "snp-report:turin": TURIN.sign(TURIN.report()),
        "snp-report:2": CHIP.sign(CHIP.report(2)),
        "snp-certificate-table": auxblob(),
        "tsm-report": tsm_json(tsm(snp, auxblob())),
        "tsm-report:cbor": cbor2.dumps(tsm(snp, auxblob()), canonical=True),
        "tdx-quote": tdx.quote(),
        "tdx-quote:buffer": tdx.quote(version=4) + bytes(70),
        "sgx-quote": tdx.quote(ENCLAVE, version=3),
        "quote-record": json.dumps(record).encode(),
        "intel-collateral": msgspec.json.encode(tdx.collateral()),
        "azure-hcl-report": hcl,
        "azure-evidence": azure_evidence(hcl, b"nonce", beside={"vcek": CHIP.certificate(SigningKey.VCEK)}),
        "azure-evidence:tdx": azure_evidence(
            hcl_report(bytes(128) + report_data_of(runtime_data()) + bytes(832), runtime_data(), tdx=True),
            b"nonce",
            beside={"td_quote": tdx.quote()},
        ),
        "tpm-quote": MadeTpm({SHA256: {0: bytes(32)}}).quote(b"nonce"),
        "tpm-quote:sized": sized(MadeTpm({SHA256: {}}).quote(b"nonce")),
        "nitro-document": MadeNitro(NOON).document(),
        "nvidia-report": device.report(bytes(32)),
        "nvidia-envelope": json.dumps([entry]).encode(),
        "nvidia-rim": MadeRim(version="550.90.07", measurements={7: [bytes(48), b"x" * 48]}).file(vendor.rim_signer),
        "event-log": encode_event_log([firmware_event(1, "loader".encode("utf-16-le")), firmware_event(0, b"\1\2")]),
        "ccel-table": encode_ccel(65536),
        "runtime-log": runtime,
        "certificates": b"".join(CHIP.endorsements(SigningKey.VCEK).chain[:1]),
        "revocation-list": CHIP.endorsements(SigningKey.VCEK).revocations[0],
        "cloister-evidence": World().bundle().evidence,
        "cloister-evidence:verifier": canonical.encode(vouched()),
    }
