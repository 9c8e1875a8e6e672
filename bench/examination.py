"""What a client pays to examine a key bundle, in units of one Ed25519 verification timed in the same run.

    PYTHONPATH=src python bench/examination.py [--rounds 40]

Rounds of both are interleaved, so that a machine that slows down slows both. Times are CPU time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from cloister.crypto.signing import SigningKey, check_signature
from cloister.formats import canonical
from cloister.formats.key_bundle import parse_key_bundle
from cloister.testing.world import NOON, World
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact


def cpu_us(action: Callable[[], object], times: int) -> float:
    """CPU time of one call, in microseconds, over `times` calls."""
    begin = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - begin) / times * 1e6


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    world = World()
    data, policy = canonical.encode(world.bundle()), world.policy()
    memory = first_contact(policy.constitution)
    key = SigningKey.generate()
    message = bytes(256)
    signature = key.sign(message)
    unit: list[float] = []
    whole: list[float] = []
    parse: list[float] = []
    for _ in range(rounds):
        unit.append(cpu_us(lambda: check_signature(key.public, signature, message), 100))
        parse.append(cpu_us(lambda: parse_key_bundle(data), 20))
        whole.append(cpu_us(lambda: examine_bundle(parse_key_bundle(data), policy, memory, at=NOON).require(), 5))
    ratios = sorted(one / other for one, other in zip(whole, unit, strict=True))
    print(f"one Ed25519 verification: {statistics.median(unit):.0f} us ({min(unit):.0f} to {max(unit):.0f})")
    print(f"parse a bundle of {len(data):,} bytes: {statistics.median(parse):.0f} us")
    print(f"parse and examine it: {statistics.median(whole):.0f} us ({min(whole):.0f} to {max(whole):.0f})")
    figures = {
        "ed25519_us": round(statistics.median(unit), 1),
        "parse_x": round(statistics.median(one / other for one, other in zip(parse, unit, strict=True)), 2),
        "examine_x": round(statistics.median(ratios), 2),
        "examine_x_range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "bundle_bytes": len(data),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
