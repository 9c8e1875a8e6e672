"""Throw bytes at every parser: they are parsed, or refused as MalformedInput or TooLarge; anything else is a find.

`make fuzz` runs it, for FUZZ_SECONDS each (20 by default). Inputs are mutants of valid messages, since bytes from
nowhere hardly pass the first check. A find is printed with its input in hex, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.contract_parsers import contract_targets
from tests.fuzz.file_parsers import file_targets
from tests.fuzz.hardware_parsers import hardware_targets
from tests.fuzz.ledger_parsers import ledger_targets
from tests.fuzz.message_parsers import http_targets, message_targets
from tests.fuzz.target import Parser, Targets
from tests.fuzz.token_parsers import token_targets

from cloister.errors import MalformedInput, TooLarge
from cloister.testing.world import World


def targets() -> Targets:
    """Every parser with valid messages to begin from."""
    return {
        **contract_targets(),
        **message_targets(),
        **http_targets(),
        **ledger_targets(World().bundle().checkpoint),
        **hardware_targets(),
        **token_targets(),
        **file_targets(),
    }


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four small changes: bits, bytes, lengths, cuts, repeats."""
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutant) + 1) if mutant else 0
        match chance.randrange(6):
            case 0 if mutant:
                mutant[at % len(mutant)] ^= 1 << chance.randrange(8)
            case 1 if mutant:
                mutant[at % len(mutant)] = chance.choice((0, 1, 0x1F, 0x5F, 0x7F, 0x80, 0x9F, 0xBF, 0xFF))
            case 2:
                mutant[at:at] = chance.randbytes(chance.randint(1, 9))
            case 3:
                del mutant[at : at + chance.randint(1, 9)]
            case 4:
                mutant[at:at] = mutant[at : at + chance.randint(1, 64)]
            case _:
                del mutant[at:]
    return bytes(mutant)


def fuzz(name: str, parse: Parser, seeds: list[bytes], *, seconds: float, chance: random.Random) -> tuple[int, int]:
    """Run one parser for `seconds`; how many inputs it got, and how many of them it parsed."""
    for seed in seeds:
        parse(seed)
    inputs = parsed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(chance.choice(seeds), chance)
        inputs += 1
        try:
            parse(data)
            parsed += 1
        except (MalformedInput, TooLarge):
            continue
        except BaseException:
            print(f"\n{name}: found with {data.hex()}", file=sys.stderr)
            raise
    return inputs, parsed


def main() -> None:
    """Fuzz every parser in turn, and say how many inputs each got."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each parser")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="to repeat a run")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    print(f"seed {given.seed}, {given.seconds} s a parser")
    for name, (parse, seeds) in targets().items():
        inputs, parsed = fuzz(name, parse, seeds, seconds=given.seconds, chance=chance)
        print(f"{name:20} {inputs:9,} inputs, {parsed:7,} parsed, no find", flush=True)


if __name__ == "__main__":
    main()
