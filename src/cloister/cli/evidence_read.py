"""Evidence in files, of whichever format, as what it is held against a policy as."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cloister.attest.nvidia.device import DeviceEvidence
from cloister.attest.vendor_evidence import VendorEvidence
from cloister.cli.evidence_file import read_evidence
from cloister.cli.explained.formats import MAXIMUM_FILE, UnknownFormat, explain
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats import hcl_report
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.hcl_report import parse_hcl_report
from cloister.formats.intel_quote import declared_length
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.snp_certificate_table import CRL, parse_certificate_table
from cloister.formats.tsm_report import parse_tsm_report

_QUOTES: Final = {"tdx-quote": "tdx", "sgx-quote": "sgx"}
_NOT_EVIDENCE: Final = {
    "certificates": "an endorsement: give it with --endorsements",
    "revocation-list": "an endorsement: give it with --endorsements",
    "intel-collateral": "an endorsement: give it with --endorsements",
    "snp-certificate-table": "an endorsement: give it with --endorsements",
    "event-log": "a log that nobody signed: it explains registers that evidence has",
    "ccel-table": "a table that nobody signed",
    "runtime-log": "a log that nobody signed: it explains registers that evidence has",
    "tpm-quote": "a quote whose signature and key are in other files: Azure's evidence has all of them together",
    "cloister-evidence": "evidence of a node, which its KMS and its clients verify against a contract: cloister verify",
    "quote-record": "a quote in an agent's answer: take the member `quote` out of it, as bytes",
}


@dataclass(frozen=True, slots=True)
class ReadEvidence:
    """What a file holds."""

    title: str
    evidence: VendorEvidence
    rim: bytes | None  # a manifest, in the place of evidence
    brought: tuple[bytes, ...]  # certificates and lists that came along in the same file
    notes: tuple[str, ...]


def read_vendor_evidence(path: Path, *, chain: Path | None, gpus: Path | None) -> ReadEvidence:
    """The evidence in a file.

    Args:
        path: the file.
        chain: the certificates of an NVIDIA report.
        gpus: NVIDIA's envelope of the machine whose CPU's evidence is in the file.

    Raises:
        UsageError: it cannot be read, or is no evidence that can be verified; the sentence says what it is.
        TooLarge, MalformedInput: it is of no format that is known.
    """
    data = read_evidence(path, limit=MAXIMUM_FILE)
    try:
        page = explain(data)
    except UnknownFormat as error:
        raise UnknownFormat(f"{path}: {error}") from error
    if page.format in _NOT_EVIDENCE:
        raise UsageError(f"{path} is {_NOT_EVIDENCE[page.format]}")
    if page.format != "nvidia-report" and chain is not None:
        raise UsageError(f"{path} is no NVIDIA report, and only those have their certificates in a file: drop --chain")
    evidence, brought, notes = _read(page.format, data, path, chain)
    if gpus is not None:
        evidence = _with_gpus(evidence, path, gpus)
    return ReadEvidence(page.title, evidence, data if page.format == "nvidia-rim" else None, brought, notes)


def _with_gpus(evidence: VendorEvidence, path: Path, gpus: Path) -> VendorEvidence:
    if evidence.platform == "":
        raise UsageError(f"{path} is of no CPU: --gpus goes with one that is")
    try:
        devices = parse_nvidia_envelope(read_evidence(gpus, limit=MAXIMUM_FILE))
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"--gpus {gpus}: {error}") from error
    return replace(evidence, gpus=tuple(DeviceEvidence(one.report, one.chain) for one in devices))


_Read = tuple[VendorEvidence, tuple[bytes, ...], tuple[str, ...]]


def _read(name: str, data: bytes, path: Path, chain: Path | None) -> _Read:
    if name in _QUOTES:
        return _quote(_QUOTES[name], data)
    if name == "tsm-report":
        return _tsm(data)
    if name == "snp-report":
        return VendorEvidence("snp", data, ()), (), ()
    if name == "nitro-document":
        return VendorEvidence("nitro", data, ()), (), ()
    if name == "azure-evidence":
        return VendorEvidence(f"azure-{parse_azure_buffers(data).hcl.kind}", data, ()), (), ()
    if name == "azure-hcl-report":
        data = data[: hcl_report.declared_length(data)]  # what follows in the NV index is filling
        return VendorEvidence(f"hcl-{parse_hcl_report(data).kind}", data, ()), (), ()
    if name == "nvidia-envelope":
        devices = tuple(DeviceEvidence(one.report, one.chain) for one in parse_nvidia_envelope(data))
        return VendorEvidence("", b"", devices), (), ()
    if name == "nvidia-report":
        if chain is None:
            raise UsageError(f"{path} is an NVIDIA report: give its certificates too, with --chain FILE")
        certificates = read_evidence(chain, limit=MAXIMUM_FILE)
        return VendorEvidence("", b"", (DeviceEvidence(data, certificates),)), (), ()
    return VendorEvidence("", b"", ()), (), ()


def _quote(platform: str, data: bytes) -> _Read:
    """A quote, cut as collectors cut it."""
    length = declared_length(data)
    left = len(data) - length
    notes = (f"{left} bytes behind the quote, which nobody signed, were left out",) if left else ()
    return VendorEvidence(platform, data[:length], ()), (), notes


def _tsm(data: bytes) -> _Read:
    report = parse_tsm_report(data)
    if report.provider.strip() != "sev_guest":
        return _quote("tdx", report.outblob)
    evidence = VendorEvidence("snp", report.outblob, ())
    if report.auxblob is None:
        return evidence, (), ()
    try:
        table = parse_certificate_table(report.auxblob)
    except (MalformedInput, TooLarge) as error:
        return evidence, (), (f"the certificates that the host gave were left out: {error}",)
    lists = [entry for kind, entry in table.entries if kind == CRL]
    return evidence, (*table.chain(), *lists), ()
