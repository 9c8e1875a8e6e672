"""NVIDIA's recorded reports, manifests and envelopes, under the appraisal that CASES.md describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding
from tests.vectors.attestation import Case, WrongFact, require_facts

from cloister.attest.certificates import parse_certificate, parse_certificates
from cloister.attest.nvidia.appraisal import appraise_nvidia, compare
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import AuthenticDevice, DeviceEvidence, examine_nvidia_device
from cloister.attest.nvidia.rim import AuthenticRim, examine_nvidia_rim
from cloister.attest.ocsp import STAPLED, parse_answer
from cloister.attest.roots import NVIDIA_DEVICES, NVIDIA_MANIFESTS
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.nvidia_envelope import parse_nvidia_envelope
from cloister.formats.nvidia_policy import NvidiaPolicy, NvidiaUnsafe
from cloister.formats.nvidia_report import parse_nvidia_report
from cloister.formats.nvidia_rim import parse_rim_file


def judge_device(case: Case) -> list[str]:
    """A report and its chain, appraised against the manifests that the case names."""
    files = case.data["files"]
    evidence = DeviceEvidence(case.read(files["report"]), case.read(files["chain"]))
    return judge_devices(case, [evidence], _stated_nonce(case) or parse_nvidia_report(evidence.report).signed.nonce)


def judge_envelope(case: Case) -> list[str]:
    """Devices as NVIDIA's tools carry them; they answer the envelope's nonce where the case has none."""
    devices = parse_nvidia_envelope(case.read(case.data["files"]["evidence"]))
    evidence = [DeviceEvidence(one.report, one.chain) for one in devices]
    return judge_devices(case, evidence, _stated_nonce(case) or devices[0].nonce)


def _stated_nonce(case: Case) -> bytes:
    return bytes.fromhex(case.data.get("facts", {}).get("nonce", ""))


def judge_devices(case: Case, evidence: list[DeviceEvidence], nonce: bytes) -> list[str]:
    """Authentic first, each by itself; then appraised together."""
    examined = [examine_nvidia_device(one, terms(case)) for one in evidence]
    failed = [step for examination in examined for step in examination.failed]
    require_outcomes(case, failed, signature="gpu.signature", chain="gpu.chain", fwid="gpu.fwid")
    if failed:
        return failed
    devices = [examination.require() for examination in examined]
    require_facts(case, {"nonce": devices[0].nonce.hex(), "driver": devices[0].driver, "vbios": devices[0].vbios})
    require_matches(case, devices[0])
    used = [] if "no-rim" in case.relax else case.data.get("rims", [])
    manifests = [examine_nvidia_rim(case.read(one["file"]), terms(case)) for one in used]
    failed = [step for manifest in manifests for step in manifest.failed]
    if failed:
        return failed
    rims = [manifest.require() for manifest in manifests]
    return appraise_nvidia(devices, rims, policy(case, devices), nonce=nonce).failed


def judge_rim(case: Case) -> list[str]:
    """A manifest by itself."""
    failed = examine_nvidia_rim(case.read(case.data["files"]["rim"]), terms(case)).failed
    require_outcomes(case, failed, signature="rim.signature", chain="rim.chain", fwid="")
    return failed


def require_outcomes(case: Case, failed: list[str], *, signature: str, chain: str, fwid: str) -> None:
    """Hold what the case says of its parts, each true or false, against the steps that failed."""
    parts = {
        "evidence_signature": signature,
        "rim_signature": signature,
        "endorsement_chain": chain,
        "rim_chain": chain,
        "fwid_match": fwid,
    }
    for part, step in parts.items():
        said = case.data["expect"].get(part)
        if said is not None and said != (step not in failed):
            raise WrongFact(f"{part} is said to be {said}; failed were {failed}")


def require_matches(case: Case, device: AuthenticDevice) -> None:
    """Hold how many measurements match each manifest against what the case says, in date or not."""
    for rim in case.data.get("rims", []):
        found = compare(device, in_its_time(case, rim["file"]))
        counted = f"{found.matched}/{found.matched + len(found.mismatched)}"
        if (counted, list(found.mismatched)) != (rim["match"], rim.get("bad_index", [])):
            raise WrongFact(f"{counted} match {rim['file']}, {found.mismatched} do not")


def in_its_time(case: Case, path: str) -> AuthenticRim:
    """A manifest as of the day that its signer's certificate began."""
    data = case.read(path)
    first = parse_certificate(parse_rim_file(data).certificates[0]).not_valid_before_utc
    then = replace(terms(case), at=int(first.timestamp()))
    return examine_nvidia_rim(data, then).require()


def terms(case: Case) -> NvidiaTerms:
    """NVIDIA's roots, the answers that came along, and what the case is judged without."""
    return NvidiaTerms(
        devices=[NVIDIA_DEVICES],
        manifests=[NVIDIA_MANIFESTS],
        answers=[parse_answer(case.read(path)) for path in case.data.get("ocsp", [])],
        nonce=STAPLED,
        at=case.at,
        unsafe=unsafe(case),
    )


def unsafe(case: Case) -> tuple[NvidiaUnsafe, ...]:
    """Each relaxation by its name."""
    names: dict[str, NvidiaUnsafe] = {
        "no-ocsp": "UnsafeAllowUncheckedRevocation",
        "no-rim": "UnsafeAllowUnmeasuredGpu",
    }
    # No case has a whole machine: GPUs of one under protected PCIe came without their switches.
    alone: NvidiaUnsafe = "UnsafeAllowUnattestedSwitches"
    return (alone, *(names[relaxed] for relaxed in sorted(case.relax) if relaxed in names))


def policy(case: Case, devices: list[AuthenticDevice]) -> NvidiaPolicy:
    """As many devices as came, of the versions that they say: the cases name none."""
    return NvidiaPolicy(
        gpus=sum(device.kind == "gpu" for device in devices),
        switches=sum(device.kind == "switch" for device in devices),
        architectures=("hopper", "blackwell"),
        modes=("single", "multi", "protected-pcie", "unstated"),
        drivers=tuple({device.driver for device in devices if device.driver}),
        vbioses=tuple({device.vbios for device in devices}),
        switch_bioses=tuple({device.vbios for device in devices}),
        without_fwid=True,  # the cases accept reports that have no such field
        unsafe=unsafe(case),
        expressions=(),
    )


def meaning(path: str, data: bytes) -> object:
    """What a file says: a report what is signed and the signature, a manifest its document, PEM its certificates."""
    try:
        if path.endswith(".bin"):
            report = parse_nvidia_report(data)
            return report.signed_bytes + report.signature
        if path.endswith(".xml"):
            return parse_rim_file(data)
        if path.endswith(".json"):
            return parse_nvidia_envelope(data)
        return [one.public_bytes(Encoding.DER) for one in parse_certificates(data)]
    except (MalformedInput, TooLarge):
        return data


MEANING = meaning
KINDS: dict[str, Callable[[Case], list[str]]] = {
    "nvidia-gpu": judge_device,
    "nvidia-switch": judge_device,
    "nvidia-envelope": judge_envelope,
    "nvidia-rim": judge_rim,
}
REASONS: tuple[tuple[str, str], ...] = (
    (r"RIM signer.*expired|RIM signer notBefore|not rooted in NVIDIA RIM root", "rim.chain"),
    (r"XML digest mismatch|signature value wrong", "rim.signature"),
    (r"chain that did not sign|chain of another GPU", "gpu.signature"),
    (r"FWID differs", "gpu.fwid"),
    (r"(?i)same GPU twice", "gpu.distinct"),
    (r"(?i)GPU.*another nonce", "gpu.nonce"),
    (r"(?i)(GPU|RIM).*measurements?.*(mismatch|differ)|measurements?.*(mismatch|differ).*RIM", "gpu.measurements"),
    (r"not rooted in NVIDIA Device", "gpu.chain"),
)
