"""Change recorded evidence of real machines, and whatever travels beside it: no change may be accepted.

`make fuzz` runs it after the parsers, with EVIDENCE_MUTANTS mutants (1,000,000). Each mutant is one accepted case of
the recorded vectors with one of its files changed: bits, bytes, cuts, repeats, pieces moved, pieces of another file; or
by its structure (certificates, members, elements and DER values left out, doubled, moved).
It is judged as `make vectors` judges, at the same moment under the same policy. Allowed are named refusals; one that is
accepted, or an exception of any other kind, is a find: it is printed with the seed, and the exit status is 1.

Not every byte of a file says something: text around PEM, for one. A file that reads as the same objects is no mutant.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fuzz.parsers import mutate
from tests.fuzz.structures import restructured
from tests.vectors.attestation import MALFORMED, Case, Judge, WrongFact, cases, folder, judges

from cloister.attest.certificates import parse_certificates
from cloister.attest.revocation import parse_list
from cloister.errors import MalformedInput, Refused, TooLarge

Meaning = Callable[[str, bytes], object]  # of a file by its path; nothing where a judge does not rest on it


@dataclass(frozen=True, slots=True)
class Altered(Case):
    """A case with files of its own in place of those that it names; it remembers what was read."""

    files: dict[str, bytes] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """The altered file, or the case's own."""
        data = self.files[path] if path in self.files else Case.read(self, path)
        self.seen[path] = data
        return data


@dataclass(frozen=True, slots=True)
class Seed:
    """An accepted case, and every file that its judge reads."""

    case: Case
    judge: Judge
    meaning: Meaning
    files: dict[str, bytes]

    def judged(self, files: dict[str, bytes]) -> list[str]:
        """The steps that failed with these files in place; a refusal without steps counts as one."""
        case = Altered(self.case.id, self.case.kind, self.case.data, self.case.folder, self.case.root, files)
        try:
            return self.judge(case)
        except Refused as error:
            return [error.check]
        except (MalformedInput, TooLarge):
            return [MALFORMED]
        except WrongFact:
            return ["facts"]


def seeds() -> list[Seed]:
    """Every accepted case of a kind that is judged."""
    kinds = judges()
    return [seed(case, kinds[case.kind][0]) for case in cases() if case.kind in kinds and case.reason is None]


def seed(case: Case, judge: Judge) -> Seed:
    """One case, without its facts where it can be judged so: evidence has to hold by itself."""
    data = {**case.data, "facts": {}, "expect": {"verdict": "accept"}}
    bare = Case(case.id, case.kind, data, case.folder, case.root)
    meaning = getattr(sys.modules[judge.__module__], "MEANING", meaning_of_file)
    for given in (bare, case):
        whole = Altered(given.id, given.kind, given.data, given.folder, given.root)
        try:
            judge(whole)
        except KeyError:  # a fact that the policy is made of, such as the nonce to expect
            continue
        files = {path: data for path, data in whole.seen.items() if meaning(path, data) is not None}
        return Seed(given, judge, meaning, files)
    raise AssertionError(f"{case.id} cannot be judged")


def changed(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A mutant of one file; `other` is one of another case's."""
    match chance.randrange(9):
        case 0 | 1 | 2:  # one bit
            at = chance.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 3:  # one piece exchanged for the other's of the same place
            first, size = chance.randrange(len(data)), chance.choice((1, 4, 8, 32, 48, 64, 512))
            return data[:first] + other[first : first + size] + data[first + size :]
        case 4:  # two pieces exchanged
            first, second = sorted(chance.randrange(len(data)) for _ in range(2))
            size = min(chance.choice((4, 8, 32, 48)), second - first)
            a, b = data[first : first + size], data[second : second + size]
            return data[:first] + b + data[first + size : second] + a + data[second + size :]
        case 5 | 6:
            return restructured(data, other, chance)
        case _:
            return mutate(data, chance)


def meaning_of_file(path: str, data: bytes) -> object:
    """What a file says, as far as it is JSON, certificates or a revocation list; itself otherwise."""
    if path.endswith(".json"):
        return json.loads(data)
    try:
        return [one.public_bytes(Encoding.DER) for one in parse_certificates(data)]
    except (MalformedInput, TooLarge):
        pass
    try:
        found: x509.CertificateRevocationList = parse_list(data)
    except (MalformedInput, TooLarge):
        return data
    return found.public_bytes(Encoding.DER)


def readable(path: str, data: bytes, original: bytes) -> bool:
    """Whether the tests themselves can open the file: the JSON that recorders wrapped around evidence is theirs."""
    if not path.endswith(".json"):
        return True
    try:
        return type(json.loads(data)) is type(json.loads(original))
    except ValueError:
        return False


def fuzz(known: list[Seed], mutants: int, chance: random.Random) -> tuple[Counter[str], list[str]]:
    """Judge as many mutants of the `known` cases; how many each check refused first, and those that none did."""
    refused: Counter[str] = Counter()
    finds: list[str] = []
    while refused.total() + len(finds) < mutants:
        one = chance.choice(known)
        path, data = chance.choice(sorted(one.files.items()))
        other = chance.choice(sorted(chance.choice(known).files.values()))
        mutant = changed(data, other, chance)
        if mutant == data or not readable(path, mutant, data) or one.meaning(path, mutant) == one.meaning(path, data):
            continue
        failed = one.judged({path: mutant})
        if failed:
            refused[failed[0]] += 1
        else:
            finds.append(f"{one.case.folder.name}/{one.case.id} is accepted with {path} of {mutant.hex()}")
    return refused, finds


def main() -> int:
    """Print what was refused by which check first; 0 if nothing was accepted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="to repeat a run")
    parser.add_argument("--only", default="", help="cases whose vendor/id contains this")
    given = parser.parse_args()
    known = [one for one in seeds() if given.only in f"{one.case.folder.name}/{one.case.id}"]
    if not known:
        print(f"no recorded evidence under {folder()} to change: CLOISTER_VECTORS says where it is")
        return 0
    print(f"seed {given.seed}, {given.mutants:,} mutants of {len(known)} accepted cases under {folder()}", flush=True)
    refused, finds = fuzz(known, given.mutants, random.Random(given.seed))
    for check, count in refused.most_common():
        print(f"{check:24} {count:9,}")
    print(f"{refused.total():,} refused by name, {len(finds)} accepted")
    for find in finds:
        print(find, file=sys.stderr)
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
