"""An Azure confidential VM's paravisor and vTPM that are made up: HCL reports, runtime data, whole evidence."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cloister.formats.azure_evidence import encode_azure_evidence
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import AK_NAME
from cloister.formats.tpm_quote import RSASSA
from cloister.testing.tpm_hardware import MadeTpm

PCRS = {index: hashlib.sha256(bytes([index])).digest() for index in range(24)}
CONFIGURATION: dict[str, Any] = {"console-enabled": True, "secure-boot": True, "tpm-enabled": True, "vmUniqueId": "1"}
AZURE_TPM = MadeTpm({SHA256: PCRS}, scheme=RSASSA)
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}


def runtime_key(kid: str = AK_NAME, *, tpm: MadeTpm = AZURE_TPM) -> dict[str, Any]:
    """A made TPM's RSA key as a JSON Web Key."""
    modulus = base64.urlsafe_b64encode(tpm.modulus.to_bytes(256, "big")).rstrip(b"=").decode()
    return {"kid": kid, "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": modulus}


def runtime_data(**changes: Any) -> bytes:
    """Runtime data as the paravisor writes it; a change replaces a member."""
    members = {"keys": [runtime_key()], "vm-configuration": CONFIGURATION, "user-data": "00" * 64}
    return json.dumps({**members, **changes}, separators=(",", ":")).encode()


def report_data_of(data: bytes, *, kind: int = 1) -> bytes:
    """The REPORT_DATA that vouches for runtime data: 64 bytes."""
    return hashlib.new(_HASHES[kind], data).digest().ljust(64, b"\0")


def hcl_report(hardware: bytes, data: bytes, *, tdx: bool = False, kind: int = 1, size: int = 0) -> bytes:
    """An HCL report; in an NV index of `size` bytes, if that is not 0."""
    total = 32 + 1184 + 20 + len(data)
    head = b"HCLA" + _words(2 if tdx else 1, total, 2, 0, 0, 0, 0)
    request = _words(20 + len(data), 1, 4 if tdx else 2, kind, len(data))
    return (head + hardware.ljust(1184, b"\0") + request + data).ljust(size, b"\0")


def azure_evidence(hcl: bytes, nonce: bytes, *, beside: Mapping[str, bytes], tpm: MadeTpm = AZURE_TPM) -> bytes:
    """Evidence in JSON: the report, a quote that answers `nonce`, and `vcek` or `td_quote` beside them."""
    quote = tpm.quote(nonce)
    return encode_azure_evidence(
        hcl,
        quote,
        tpm.signature(quote)[0],
        list(tpm.pcrs[SHA256].values()),
        vcek=beside.get("vcek"),
        td_quote=beside.get("td_quote"),
    )


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)
