"""Judges what a file of evidence holds: finds the policy's part, gathers endorsements, and examines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from cloister.attest.hardware import ANYTHING, Carried, HardwareTerms
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED
from cloister.attest.roots import roots_of
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.vendor_evidence import examine_vendor_evidence, examine_vendor_gpus
from cloister.cli.endorsement_sources import read_endorsements
from cloister.cli.evidence_read import ReadEvidence
from cloister.errors import UsageError
from cloister.examination import Examination
from cloister.formats.appraisal_policy import AppraisalPolicy, Gpu, Platform
from cloister.formats.nvidia_policy import NvidiaPolicy

_FIELD: Final = {"azure-snp": 32, "azure-tdx": 32}  # bytes that carry what is expected; 64 elsewhere
_PART: Final = {"hcl-snp": "azure-snp", "hcl-tdx": "azure-tdx"}
_NONCE: Final = 32  # bytes, of a GPU
_CHALLENGE: Final = 32  # bytes
WORKLOAD: Final = 48  # bytes of a workload measurement


@dataclass(frozen=True, slots=True)
class Asked:
    """What evidence is to carry: never nothing by oversight."""

    challenge: bytes | None
    report_data: bytes | None
    anything: bool
    gpu_nonce: bytes | None

    @classmethod
    def of(cls, *, challenge: bytes | None, report_data: bytes | None, anything: bool, gpu_nonce: bytes | None) -> Self:
        """What the command line says.

        Raises:
            UsageError: nothing, or two things that exclude each other.
        """
        if anything and (challenge is not None or report_data is not None or gpu_nonce is not None):
            raise UsageError("--unsafe-any-challenge takes whatever stands there: give it, or what is to stand there")
        if not anything and challenge is None and report_data is None:
            raise UsageError(
                "evidence that answers nobody in particular may be a replay: give --challenge HEX or --report-data HEX,"
                " or say --unsafe-any-challenge"
            )
        if challenge is not None and len(challenge) != _CHALLENGE:
            raise UsageError(
                f"a challenge of {len(challenge)} bytes: it has {_CHALLENGE}; where other bytes are to stand there,"
                " give all of them with --report-data"
            )
        return cls(challenge, report_data, anything, gpu_nonce)

    def carried(self, platform: str) -> Carried | Literal["anything"]:
        """What stands in the platform's field, and in those of the GPUs.

        Raises:
            UsageError: it has no room there.
        """
        if self.anything:
            return ANYTHING
        if self.challenge is not None and self.report_data is not None and platform != "nitro":
            raise UsageError(
                f"--challenge and --report-data both say what {platform or 'these GPUs'} has to carry"
                " in its one field: give one of them (a challenge of GPUs beside a CPU is --gpu-nonce)"
            )
        room = _FIELD.get(platform, 64)
        nonce = self.gpu_nonce or self.challenge
        if platform == "":
            data = self.challenge or self.report_data or b""
            if len(data) != _NONCE:
                raise UsageError(f"{len(data)} bytes to answer: the nonce of GPUs has {_NONCE}")
            return Carried(data, None, data)
        data = self.report_data if self.report_data is not None else (self.challenge or b"").ljust(room, b"\0")
        exact = platform not in _FIELD and platform != "nitro"
        if len(data) > max(room, 64) or (exact and len(data) != room) or not data:
            raise UsageError(f"{len(data)} bytes to carry: evidence of {platform} carries {room}")
        return Carried(data, self.challenge, nonce)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came out."""

    title: str
    platform: str
    examination: Examination[Any]
    notes: tuple[str, ...]
    at: int  # seconds since 1970
    anything: bool
    workloads: tuple[bytes, ...]

    @property
    def accepted(self) -> bool:
        """Whether every step passed."""
        return len(self.examination.passed) == len(self.examination.steps)

    @property
    def alone(self) -> bool:
        """Whether it is of no CPU, so that no workload can be asked of it."""
        return self.platform in ("gpu", "manifest")


def judge(
    policy: AppraisalPolicy,
    read: ReadEvidence,
    asked: Asked,
    endorsements: Path | None,
    when: tuple[int, tuple[bytes, ...]],
) -> Judged:
    """Examine what was read, under the policy's part for it, at a moment, running one of some workloads.

    Raises:
        UsageError: endorsements cannot be read, or what is asked has no room in such evidence.
    """
    at, workloads = when
    evidence = read.evidence
    carried = asked.carried(evidence.platform) if read.rim is None else ANYTHING
    terms = HardwareTerms(roots_of(policy), at, SEEN_NOTHING, carried, workloads)
    endorsed, notes = read_endorsements(endorsements, read, roots=terms.roots, at=at)
    examination: Examination[Any]
    if read.rim is not None:
        name, examination = "manifest", _manifest(read.rim, policy, endorsed.answers, terms)
    elif evidence.platform == "":
        name, examination = "gpu", examine_vendor_gpus(evidence.gpus, _gpu_part(policy), endorsed, terms)
        notes = (*notes, "nothing here says which machine these devices are in")
    else:
        name = evidence.platform
        examination = examine_vendor_evidence(evidence, _part(policy, name), endorsed, terms)
    return Judged(read.title, name, examination, (*read.notes, *notes), at, asked.anything, workloads)


def _part(policy: AppraisalPolicy, name: str) -> Platform | None:
    wanted = _PART.get(name, name)
    return next((one for one in policy.platforms if one.__struct_config__.tag == wanted), None)


def _gpu_part(policy: AppraisalPolicy) -> Gpu:
    """What the policy says of GPUs, where it says one thing.

    Raises:
        UsageError: it says several.
    """
    told = [getattr(one, "gpu", "none") for one in policy.platforms]
    parts = [one for one in told if isinstance(one, NvidiaPolicy)]
    if any(one != parts[0] for one in parts):
        raise UsageError("the policy wants other GPUs on each platform: verify them with the CPU's evidence and --gpus")
    return parts[0] if parts else "none"


def _manifest(data: bytes, policy: AppraisalPolicy, answers: Any, terms: HardwareTerms) -> Examination[Any]:
    part = _gpu_part(policy)
    held = NvidiaTerms(
        devices=terms.roots.nvidia_devices,
        manifests=terms.roots.nvidia_manifests,
        answers=answers,
        nonce=STAPLED,
        at=terms.at,
        unsafe=() if part == "none" else part.unsafe,
    )
    return examine_nvidia_rim(data, held)
