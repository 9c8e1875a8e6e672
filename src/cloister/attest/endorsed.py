"""Sorts the endorsements that came along with evidence; nothing in them is trusted yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cloister.attest.ocsp import OcspAnswer, parse_answer
from cloister.attest.snp.authentic import SnpEndorsements
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.endorsements import EndorsementKind
from cloister.formats.evidence import Evidence
from cloister.formats.intel_collateral import IntelCollateral, parse_collateral
from cloister.formats.named_token import BY_VERIFIER

_AMD: frozenset[EndorsementKind] = frozenset({"amd-certificates", "amd-revocations"})
_NVIDIA: frozenset[EndorsementKind] = frozenset({"nvidia-manifest", "ocsp-answer"})
_TAKEN: dict[str, frozenset[EndorsementKind]] = {
    "software": frozenset(),
    "nitro": frozenset(),
    BY_VERIFIER: frozenset(),
    "snp": _AMD | _NVIDIA,
    "azure-snp": _AMD | _NVIDIA,
    "tdx": _NVIDIA | {"intel-collateral"},
    "azure-tdx": _NVIDIA | {"intel-collateral"},
}


MAXIMUM_ANSWERS: Final = 40  # of 16 devices with an issuer each, and of those above them and the manifests' signers


@dataclass(frozen=True, slots=True)
class Endorsed:
    """What came along, by what it is for."""

    snp: SnpEndorsements
    intel: IntelCollateral | None  # only where the platform needs none
    manifests: tuple[bytes, ...]
    answers: tuple[OcspAnswer, ...]  # in date, not asked for with a nonce of ours

    def collateral(self) -> IntelCollateral:
        """Intel's, where `sort_endorsements` let a platform of Intel's pass."""
        if self.intel is None:
            raise MalformedInput("no Intel collateral came along: fetch it for the platform's FMSPC")
        return self.intel


def sort_endorsements(evidence: Evidence) -> Endorsed:
    """The endorsements of `evidence`, each of a kind that its platform has a use for.

    Raises:
        MalformedInput, TooLarge: one is none, or of another platform, or what Intel says is not there exactly once.
    """
    taken = _TAKEN.get(evidence.platform, frozenset())
    found: dict[EndorsementKind, list[bytes]] = {}
    for one in evidence.endorsements:
        if one.kind not in taken:
            raise MalformedInput(f"{one.kind}: evidence of {evidence.platform} has no use for that")
        found.setdefault(one.kind, []).append(one.data)
    answers = found.get("ocsp-answer", [])
    if len(answers) > MAXIMUM_ANSWERS:
        raise TooLarge(f"{len(answers)} OCSP answers came along, the cap is {MAXIMUM_ANSWERS}")
    intel = [parse_collateral(data) for data in found.get("intel-collateral", ())]
    if "intel-collateral" in taken and len(intel) != 1:
        raise MalformedInput(f"Intel's collateral came along {len(intel)} times, not once: fetch it for the FMSPC")
    return Endorsed(
        SnpEndorsements(tuple(found.get("amd-certificates", ())), tuple(found.get("amd-revocations", ()))),
        intel[0] if intel else None,
        tuple(found.get("nvidia-manifest", ())),
        tuple(parse_answer(data) for data in answers),
    )
