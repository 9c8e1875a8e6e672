"""Endorsements for a piece of evidence, from a folder of plain files as people download them; nothing is fetched.

What each file is, its content says. Of several that may be meant, those are taken that are for this evidence: the key
of this chip at this TCB, the collateral of this kind of platform, the manifests of these versions. A file that is none
of them is named, and passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import parse_certificates
from cloister.attest.endorsed import Endorsed
from cloister.attest.ocsp import OcspAnswer, parse_answer
from cloister.attest.revocation import parse_list
from cloister.attest.snp.authentic import SnpEndorsements
from cloister.attest.snp.endorsement_key import read_endorsement_key
from cloister.attest.vendor_evidence import VendorEvidence
from cloister.cli.explained.nvidia import opaque_text
from cloister.cli.intel_files import Platform, SignedDocument, assembled, read_document
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.hcl_report import parse_hcl_report
from cloister.formats.intel_collateral import IntelCollateral, parse_collateral
from cloister.formats.intel_quote import parse_quote
from cloister.formats.nvidia_report import DRIVER_VERSION, VBIOS_VERSION, parse_nvidia_report
from cloister.formats.nvidia_rim import claimed_manifest, parse_rim_file
from cloister.formats.pck_certificate import EXTENSIONS_OID, parse_pck_extensions
from cloister.formats.snp_report import SnpReport, parse_snp_report
from cloister.formats.snp_tcb import Tcb
from cloister.formats.tcb_info import parse_tcb_info

MAXIMUM_ENDORSEMENT: Final = 8 * 1024 * 1024  # bytes of one file
MAXIMUM_FILES: Final = 512
MAXIMUM_FOLDER: Final = 64 * 1024 * 1024  # bytes of all files together
_PEM: Final = re.compile(rb"^-----BEGIN (?:CERTIFICATE|X509 CRL)-----", re.MULTILINE)
_MALFORMED: Final = (MalformedInput, TooLarge)


@dataclass(slots=True)
class Found:
    """What a folder holds, by what it is."""

    certificates: list[x509.Certificate] = field(default_factory=list)
    lists: list[bytes] = field(default_factory=list)
    collateral: list[IntelCollateral] = field(default_factory=list)
    documents: list[SignedDocument] = field(default_factory=list)
    manifests: list[bytes] = field(default_factory=list)
    answers: list[OcspAnswer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, data: bytes, name: str, *, whole: bool = False) -> None:
        """Take in one file's content; what is none of them is noted, and passed over.

        Raises:
            UsageError: it has to be `whole`, and an endorsement was cut.
        """
        for one in (self._manifest, self._collateral, self._document, self._certificates, self._list, self._answer):
            try:
                one(data)
            except _MALFORMED:
                continue
            return
        if whole and (cut := _cut(data)):
            raise UsageError(f"{name} begins like {cut}, and is not whole: get it again")
        self.notes.append(f"{name} is no endorsement that is known here, and was passed over")

    def _manifest(self, data: bytes) -> None:
        parse_rim_file(data)
        self.manifests.append(data)

    def _collateral(self, data: bytes) -> None:
        try:
            told = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MalformedInput("no JSON") from error
        if isinstance(told, dict):
            told.pop("pck_certificate_chain", None)  # the quote has its own, and no other is looked at
        self.collateral.append(parse_collateral(json.dumps(told).encode()))

    def _document(self, data: bytes) -> None:
        self.documents.append(read_document(data))

    def _certificates(self, data: bytes) -> None:
        escaped = b"BEGIN%20CERTIFICATE" in data  # as Intel's service has chains in its headers
        self.certificates += parse_certificates(unquote_to_bytes(data) if escaped else _from_pem(data))

    def _list(self, data: bytes) -> None:
        parse_list(data := _from_pem(data))
        self.lists.append(data)

    def _answer(self, data: bytes) -> None:
        self.answers.append(parse_answer(data))


def _from_pem(data: bytes) -> bytes:
    """Without the text that openssl prints in front with -text."""
    found = _PEM.search(data)
    return data if found is None else data[found.start() :]


def _cut(data: bytes) -> str:
    """What kind of endorsement it began as, if its end is missing."""
    start = data.lstrip()
    if start.startswith((b"{", b"[")):
        try:
            json.loads(start)
        except (ValueError, RecursionError):
            return "JSON"
    if start.startswith(b"<") and not start.rstrip(b"\0 \r\n\t").endswith(b">"):
        return "a manifest in XML"
    if _PEM.search(data) and data.count(b"-----BEGIN ") > data.count(b"-----END "):
        return "PEM"
    octets = {0x81: 1, 0x82: 2, 0x83: 3}.get(data[1] if len(data) > 1 else 0, 0)  # of a long length (X.690 8.1.3.5)
    if data[:1] == b"\x30" and octets and len(data) < 2 + octets + int.from_bytes(data[2 : 2 + octets], "big"):
        return "a certificate, list or answer in DER"
    return ""


def read_folder(folder: Path) -> Found:
    """All files in `folder`, those in folders of it too.

    Raises:
        UsageError: it cannot be read, has more files than anybody would look through, or one that was cut.
    """
    found, left = Found(), MAXIMUM_FOLDER
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if len(files) > MAXIMUM_FILES:
            raise UsageError(f"{folder} has {len(files)} files; an endorsements folder has {MAXIMUM_FILES} at most")
        for path in files:
            with path.open("rb") as file:
                data = file.read(MAXIMUM_ENDORSEMENT + 1)
            if (left := left - len(data)) < 0:
                raise UsageError(f"{folder} has over {MAXIMUM_FOLDER} bytes; name the files for this evidence alone")
            short = data if len(data) <= MAXIMUM_ENDORSEMENT else b""
            found.take(short, str(path.relative_to(folder)), whole=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from error
    return found


def chosen(found: Found, evidence: VendorEvidence) -> Endorsed:
    """Those that are for this evidence; nothing of it is judged by that."""
    return Endorsed(
        SnpEndorsements(_chain([*_own(evidence), *found.certificates], _snp_report(evidence)), tuple(found.lists)),
        _intel(found, evidence),
        _manifests(found.manifests, evidence),
        tuple(found.answers),
    )


def _own(evidence: VendorEvidence) -> tuple[x509.Certificate, ...]:
    """Azure's evidence has the endorsement key's certificate in it."""
    if evidence.platform != "azure-snp":
        return ()
    try:
        return parse_certificates(parse_azure_buffers(evidence.report).vcek or b"")
    except _MALFORMED:
        return ()


def _snp_report(evidence: VendorEvidence) -> SnpReport | None:
    try:
        hardware = {
            "snp": lambda: evidence.report,
            "azure-snp": lambda: parse_azure_buffers(evidence.report).hcl.hardware,
            "hcl-snp": lambda: parse_hcl_report(evidence.report).hardware,
        }.get(evidence.platform)
        return None if hardware is None else parse_snp_report(hardware()).report
    except _MALFORMED:
        return None


def _chain(certificates: Sequence[x509.Certificate], report: SnpReport | None) -> tuple[bytes, ...]:
    """The endorsement key's certificate and those above it, by their names: the key of this report, if it is there."""
    if report is None:
        return ()
    keys = sorted((one for one in certificates if _is_key(one)), key=lambda one: _fits(one, report), reverse=True)
    chain = keys[:1]
    while chain and len(chain) < 3:
        above = next((one for one in certificates if one.subject == chain[-1].issuer and one not in chain), None)
        if above is None:
            break
        chain.append(above)
    return tuple(one.public_bytes(Encoding.DER) for one in chain)


def _is_key(certificate: x509.Certificate) -> bool:
    try:
        read_endorsement_key(certificate)
    except MalformedInput:
        return False
    return True


def _fits(certificate: x509.Certificate, report: SnpReport) -> tuple[bool, bool, bool]:
    key = read_endorsement_key(certificate)
    try:
        same_tcb = Tcb.parse(report.reported_tcb, key.product) == key.tcb
    except MalformedInput:
        same_tcb = False
    return key.kind is report.signing_key, key.chip_id in (None, report.chip_id), same_tcb


def _intel(found: Found, evidence: VendorEvidence) -> IntelCollateral | None:
    """Of this kind of platform, or else the first: its examination says what it is of."""
    platform = _platform(evidence)
    if platform is None:
        return next(iter(found.collateral), None)
    fitting = [one for one in found.collateral if _kind_of(one) == (platform.tee, platform.fmspc)]
    put_together = assembled(found.documents, found.certificates, found.lists, platform)
    return next((one for one in (*fitting, put_together, *found.collateral) if one is not None), None)


def _kind_of(collateral: IntelCollateral) -> tuple[str, str] | None:
    try:
        info = parse_tcb_info(collateral.tcb_info.encode())
    except _MALFORMED:
        return None
    return info.id, info.fmspc.lower()


def _platform(evidence: VendorEvidence) -> Platform | None:
    """Which platform a quote says that it is of."""
    try:
        quote = evidence.report
        if evidence.platform == "azure-tdx":
            quote = parse_azure_buffers(evidence.report).td_quote or b""
        chain = parse_certificates(parse_quote(quote).signature.pck_chain)
        found = chain[0].extensions.get_extension_for_oid(x509.ObjectIdentifier(EXTENSIONS_OID)).value
        fmspc = parse_pck_extensions(found.public_bytes()).fmspc.hex()
        return Platform("SGX" if evidence.platform == "sgx" else "TDX", fmspc, chain)
    except (*_MALFORMED, x509.ExtensionNotFound):
        return None


def _manifests(given: Sequence[bytes], evidence: VendorEvidence) -> tuple[bytes, ...]:
    """Those of the versions that the devices' reports say."""
    versions = {version for one in evidence.gpus for version in _versions(one.report)}
    return tuple(one for one in given if _version_of(one) in versions)


def _version_of(manifest: bytes) -> str | None:
    try:
        return claimed_manifest(parse_rim_file(manifest)).version.upper()
    except _MALFORMED:
        return None


def _versions(report: bytes) -> Iterator[str]:
    try:
        opaque = parse_nvidia_report(report).signed.opaque
    except _MALFORMED:
        return
    for one in (DRIVER_VERSION, VBIOS_VERSION):
        if one in opaque:
            yield opaque_text(one, opaque[one]).upper()
