"""The software TEE's report: a COSE_Sign1 by a local platform key. It proves who measured, and protects nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.crypto.cose import open1
from cloister.crypto.signing import BadSignature
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.evidence import SOFTWARE_REPORT_TYPE, SoftwareReport, parse_software_report


@dataclass(frozen=True, slots=True)
class AuthenticReport:
    """A report whose signature and endorsements hold. It is true; whether it is good enough is the appraisal's word."""

    platform_measurement: bytes  # 48 bytes
    workload: bytes  # 48 bytes
    report_data: bytes  # 64 bytes


def authenticate_software(report: bytes, *, platform_keys: Sequence[bytes]) -> AuthenticReport:
    """Check a software TEE's report against the platform keys that the appraisal policy names.

    Raises:
        BadSignature: signed by no such key, or not signed.
        MalformedInput: not a report.
    """
    key = CoseSign1.parse(report).kid
    if key not in platform_keys:
        raise BadSignature("the report is signed by a platform key that the appraisal policy does not name")
    parsed: SoftwareReport = parse_software_report(open1(report, public=key, content_type=SOFTWARE_REPORT_TYPE))
    return AuthenticReport(parsed.platform_measurement, parsed.workload, parsed.report_data)
