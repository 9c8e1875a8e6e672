"""What judging evidence costs on each platform, in units of one P-384 verification timed in the same run.

    PYTHONPATH=src python bench/attestation.py [--rounds 60] [--bundles 15]

Evidence is of made-up hardware with chains of the vendors' own kinds of keys. `snp`, `tdx`, `azure_snp` and `nitro` are
examination and appraisal with endorsements at hand, in a process that met them before: certificates and lists as bytes
(that one signed another is remembered), Intel's collateral as the last examination left it (`tdx_cold`: as bytes).
`gpu` is one device with both of its manifests and their OCSP answers. `evidence` is all of a node's on SEV-SNP, binding
and settings included. `bundle` is a client's first examination of a whole bundle of a KMS on TDX, each in a process of
its own that has imported what it needs.

Rounds are interleaved, on one processor; times are CPU time. Every round is a sample. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from measured import on_one_processor

from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.nitro import NitroExpected, appraise_nitro, examine_nitro
from cloister.attest.nvidia.appraisal import appraise_nvidia
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import DeviceEvidence, examine_nvidia_device
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED, parse_answer
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import appraise_snp
from cloister.attest.snp.authentic import examine_snp
from cloister.attest.tdx.appraised import appraise_tdx
from cloister.attest.tdx.authentic import examine_tdx
from cloister.formats.appraisal_policy import RoleReference, SnpPlatform
from cloister.formats.binary_http import Response
from cloister.formats.evidence import NodeKeys, SecuritySettings
from cloister.formats.nitro_document import parse_nitro_document
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.peers.kms import KmsClient
from cloister.testing.local_system import LocalSystem
from cloister.testing.made_tees import MadeAzureTee, MadeGpus, MadeNitroTee, MadeSnpTee, MadeTdxTee, MadeTee, policy_of

NOW = int(time.time())
WORKLOAD, CHALLENGE, SUBJECT = b"\5" * 48, b"c" * 32, b"s" * 32
REPORT_DATA = bytes(64)
# Run in a process of its own: the bundle, the policy and the time come on standard input, the CPU time goes out.
FIRST_EXAMINATION = """
import sys, time, msgspec
from cloister.formats.key_bundle import parse_key_bundle
from cloister.formats.trust_policy import TrustPolicy
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact
told = msgspec.msgpack.decode(sys.stdin.buffer.read())
policy = msgspec.convert(told["policy"], TrustPolicy)
begin = time.process_time()
examine_bundle(parse_key_bundle(told["bundle"]), policy, first_contact(policy.constitution), at=told["at"]).require()
print(time.process_time() - begin)
"""


class Echo:
    """An engine that is never asked."""

    def missing(self) -> tuple[str, ...]:
        """Nothing lacks."""
        return ()

    async def ask(self, request: Any, *, seconds: float) -> Response:
        """Its own words back."""
        return Response(200, (), request.body)


def cpu_us(action: Callable[[], object], times: int) -> float:
    """CPU time of one call, in microseconds, over `times` calls."""
    begin = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - begin) / times * 1e6


def p384() -> Callable[[], object]:
    """One verification: the unit."""
    key = ec.generate_private_key(ec.SECP384R1())
    signature, public = key.sign(bytes(1000), ec.ECDSA(SHA384())), key.public_key()
    return lambda: public.verify(signature, bytes(1000), ec.ECDSA(SHA384()))


def snp() -> Callable[[], object]:
    """One report: VCEK, ASK, ARK and its list; 31 steps."""
    tee = MadeSnpTee(NOW, WORKLOAD)
    chip, report = tee.hardware, tee.collect(REPORT_DATA, challenge=CHALLENGE).report
    given, roots = chip.endorsements(), chip.roots
    platform = tee.platform_policy([WORKLOAD])
    assert isinstance(platform, SnpPlatform)

    def judge() -> object:
        found = examine_snp(report, given, roots=roots, at=NOW, unsafe=(), seen=SEEN_NOTHING).require()
        return appraise_snp(found, platform.report, report_data=REPORT_DATA).require()

    return judge


def tdx(*, cold: bool = False) -> Callable[[], object]:
    """One quote."""
    tee = MadeTdxTee(NOW, WORKLOAD)
    quote, roots = tee.collect(REPORT_DATA, challenge=CHALLENGE).report, tee.hardware.roots
    collateral, policy = tee.hardware.collateral(), tee.quote_policy()
    known = examine_tdx(quote, collateral, roots=roots, at=NOW, seen=SEEN_NOTHING).require().platform.collateral

    def judge() -> object:
        given = collateral if cold else known
        found = examine_tdx(quote, given, roots=roots, at=NOW, seen=SEEN_NOTHING).require()
        return appraise_tdx(found, policy, report_data=REPORT_DATA, at=NOW, workloads=[WORKLOAD]).require()

    return judge


def nitro() -> Callable[[], object]:
    """One document with a chain of four."""
    tee = MadeNitroTee(NOW, WORKLOAD)
    document, roots = tee.collect(REPORT_DATA, challenge=CHALLENGE).report, tee.hardware.roots
    policy = tee.platform_policy([WORKLOAD]).document
    expected = NitroExpected(user_data=REPORT_DATA, nonce=CHALLENGE, public_key=None)

    def judge() -> object:
        found = examine_nitro(parse_nitro_document(document), roots=roots, at=NOW).require()
        return appraise_nitro(found, policy, expected, at=NOW).require()

    return judge


def gpu() -> Callable[[], object]:
    """One device, both manifests, and OCSP answers for all three chains."""
    made, nonce = MadeGpus(NOW), bytes(32)
    (shown,), policy, files, answers = made.evidence(nonce), made.policy(), made.manifests(), made.answers()
    pins = (made.vendor.device_root.pin,), (made.vendor.rim_root.pin,)

    def judge() -> object:
        terms = NvidiaTerms(
            devices=pins[0],
            manifests=pins[1],
            answers=[parse_answer(one) for one in answers],
            nonce=STAPLED,
            at=NOW,
            unsafe=(),
        )
        device = examine_nvidia_device(DeviceEvidence(shown.report, shown.chain), terms).require()
        rims = [examine_nvidia_rim(one, terms).require() for one in files]
        return appraise_nvidia([device], rims, policy, nonce=nonce).require()

    return judge


def whole(tee: MadeTee, keys: NodeKeys) -> Callable[[], object]:
    """All of a node's evidence, as a KMS judges it."""
    policy = policy_of([tee], [WORKLOAD])
    settings = SecuritySettings(role="gateway", unsafe=policy.unsafe, values={})
    made = evidence(tee, challenge=CHALLENGE, settings=settings, subject=SUBJECT, keys=keys)
    given = msgspec.structs.replace(made, endorsements=(*made.endorsements, *tee.fetched()))
    reference = RoleReference(role="gateway", workloads=(WORKLOAD,), settings=(settings.digest(),))
    expected = Expected(CHALLENGE, SUBJECT, reference)
    return lambda: examine_evidence(given, policy, expected, at=NOW, seen=SEEN_NOTHING).require()


async def bundle_of(folder: Path) -> bytes:
    """A bundle of a KMS on TDX and the policy that pins it, as `FIRST_EXAMINATION` reads them."""
    system = LocalSystem(folder, kms_on=partial(MadeTdxTee, NOW), gateway_on=partial(MadeSnpTee, NOW))
    async with system.running(Echo()), KmsClient(system.url("kms")) as kms:
        bundle = await kms.bundle(system.contract.digest())
    told = {"bundle": bundle, "policy": msgspec.to_builtins(system.trust_policy(), builtin_types=(bytes,))}
    return msgspec.msgpack.encode(told | {"at": int(time.time())})


def first_examination_ms(told: bytes) -> float:
    """CPU time of the first examination in a new process, in milliseconds."""
    done = subprocess.run([sys.executable, "-c", FIRST_EXAMINATION], input=told, capture_output=True, check=True)
    return float(done.stdout) * 1000


def told_of(name: str, samples: list[float], unit: list[float]) -> dict[str, float]:
    """Print a line; the median and the 95th percentile in units."""
    ratios = [one / other for one, other in zip(samples, unit, strict=True)]
    middle, high = statistics.median(ratios), statistics.quantiles(ratios, n=20)[-1]
    print(f"{name:>10}: {statistics.median(samples):8,.0f} us   {middle:6.2f} x   p95 {high:6.2f} x")
    return {f"{name}_x": round(middle, 2), f"{name}_p95_x": round(high, 2)}


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--bundles", type=int, default=15)
    asked = parser.parse_args()
    on_one_processor()
    keys = NodeSecrets.generate().public
    judged = {
        "snp": snp(),
        "tdx": tdx(),
        "tdx_cold": tdx(cold=True),
        "azure_snp": whole(MadeAzureTee(NOW, WORKLOAD), keys),
        "nitro": nitro(),
        "gpu": gpu(),
        "evidence": whole(MadeSnpTee(NOW, WORKLOAD), keys),
    }
    verify, unit = p384(), list[float]()
    samples: dict[str, list[float]] = {name: [] for name in judged}
    for _ in range(asked.rounds):
        unit.append(cpu_us(verify, 20))
        for name, judge in judged.items():
            samples[name].append(cpu_us(judge, 5))
    print(f"one P-384 verification: {statistics.median(unit):.0f} us ({min(unit):.0f} to {max(unit):.0f})")
    figures: dict[str, object] = {"p384_us": round(statistics.median(unit), 1)}
    for name, taken in samples.items():
        figures |= told_of(name, taken, unit)
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(bundle_of(Path(folder)))
    first = sorted(first_examination_ms(told) for _ in range(asked.bundles))
    print(f"first examination of a bundle of a KMS on TDX, {len(told):,} bytes: ", end="")
    print(f"{statistics.median(first):.1f} ms of CPU ({first[0]:.1f} to {first[-1]:.1f})")
    print(json.dumps(figures | {"bundle_cold_ms": round(statistics.median(first), 1)}))


if __name__ == "__main__":
    main()
