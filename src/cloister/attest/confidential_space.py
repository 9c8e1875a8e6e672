"""Tokens of Google Confidential Space in place of evidence: what Google saw of a VM, and of the container in it.

Google measures the VM's boot and tells its own names of what it found: the platform's measurement here is a digest of
those. The container chose the nonce: it is the 32 bytes of the binding, in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from cloister.attest.foreign_token import (
    FOREIGN_STEPS,
    NamedTokenRefused,
    TokenTerms,
    check_chained,
    check_exchange,
    check_expressions,
    check_nonce,
    check_pinned,
    read_signed,
)
from cloister.attest.hardware import Proven
from cloister.attest.seen import SEEN_NOTHING
from cloister.examination import Examination, Steps
from cloister.formats.confidential_space_token import ConfidentialSpaceToken, read_confidential_space_token
from cloister.formats.contract_verifier import ConfidentialSpaceVerifier
from cloister.formats.jwt import Jwt

_ISSUER: Final = FOREIGN_STEPS.index("token.issuer") + 1
CONFIDENTIAL_SPACE_STEPS: Final = (*FOREIGN_STEPS[:_ISSUER], "token.audience", *FOREIGN_STEPS[_ISSUER:])
_TAG: Final = b"cloister confidential space platform v1"
_HARDWARE: Final = "GCP_INTEL_TDX"  # SEV and SEV-ES, the others, let the host exchange pages of memory unseen
_SYSTEM: Final = "CONFIDENTIAL_SPACE"
_CLOSED: Final = "disabled-since-boot"


def examine_confidential_space_token(
    token: bytes, verifier: ConfidentialSpaceVerifier, terms: TokenTerms
) -> Examination[Proven]:
    """Examine a token in order; no I/O, no clock."""
    steps: Steps = Steps(CONFIDENTIAL_SPACE_STEPS, NamedTokenRefused)
    steps.check("token.verifier", True, "", found=f"{verifier.name} (confidential-space)")
    # 2. to 6. Signed by a pinned key, or below a pinned root, and well-formed.
    signed = lambda jwt: _check_signature(jwt, verifier, at=terms.at)  # noqa: E731 - one line, used once
    read = read_signed(steps, token, verifier, read_confidential_space_token, signed)
    if read is None:
        return steps.stopped()
    told, claims = read
    # 7. to 10. By Google, for this contract's nodes, now.
    check_exchange(steps, told, verifier, at=terms.at)
    mine = told.aud == verifier.audience
    steps.check("token.audience", mine, f"is for {told.aud[:80]}", found=verifier.audience)
    # 11. One nonce, and that is ours.
    wanted = terms.binding.qualifying_data().hex()
    check_nonce(steps, " ".join(told.nonces).encode(), wanted.encode())
    # 12. Hardware and image that are closed to the VM's owner, new enough, and started as the image says.
    shortfall = _open(told, verifier)
    steps.check("token.environment", not shortfall, shortfall, found=f"{told.hwmodel}, image {told.swversion[0]}")
    # 13. The container's image, which says the workload.
    digest = bytes.fromhex(told.submods.container.image_digest.removeprefix("sha256:"))
    image = next((one for one in verifier.images if one.digest == digest), None)
    shown = f"{digest.hex()[:16]}…"
    steps.check("token.measurement", image is not None, f"the image {shown} is not in the policy", found=shown)
    # 14. Whatever else the policy asks.
    check_expressions(steps, verifier, claims)
    workload = b"" if image is None else image.workload
    tree: dict[str, Any] = {"verifier": verifier.name, "token": claims}
    bound = terms.binding.report_data()
    return steps.examined(lambda: Proven(_platform(told), workload, bound, SEEN_NOTHING, tree))


def _check_signature(jwt: Jwt, verifier: ConfidentialSpaceVerifier, *, at: int) -> None:
    """PKI tokens bring their chain along, OIDC tokens none."""
    if jwt.chain:
        check_chained(jwt, verifier.roots, at=at)
    else:
        check_pinned(jwt, verifier.keys)


def _open(told: ConfidentialSpaceToken, verifier: ConfidentialSpaceVerifier) -> str:
    """What is not as it has to be, in words; empty where all of it is."""
    container, version = told.submods.container, int(told.swversion[0])
    wrong = {
        f"the hardware is {told.hwmodel[:40]}, not {_HARDWARE}": told.hwmodel != _HARDWARE,
        f"the system is {told.swname[:40]}, not {_SYSTEM}": told.swname != _SYSTEM,
        f"debugging is {told.dbgstat[:40]}, not {_CLOSED}": told.dbgstat != _CLOSED,
        "it did not boot securely": not told.secboot,
        f"image {version} is below {verifier.minimum_version}": version < verifier.minimum_version,
        "the starter put environment variables into the container": bool(container.env_override),
        "the starter replaced the container's command": bool(container.cmd_override),
    }
    return ", ".join(name for name, is_so in wrong.items() if is_so)


def _platform(told: ConfidentialSpaceToken) -> bytes:
    """The platform as Google names it, 48 bytes."""
    fields = (_TAG, *(one.encode() for one in (told.hwmodel, told.swname, told.swversion[0])))
    return hashlib.sha384(b"".join(len(one).to_bytes(4, "big") + one for one in fields)).digest()
