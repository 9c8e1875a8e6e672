"""However refusals come and go, each is in an entry before it is told, or counted in one; no bucket holds more."""

import contextlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cloister.formats.refusal import FailedCheck
from cloister.hosting.allowance import TooMuch
from cloister.services.kms.refusals import BURST, PER_SECOND, WAITING, Refusals, refused_evidence
from cloister.testing.world import NOON, World, evidence

WORLD = World()
SUBJECT = WORLD.contract.digest()
SHOWN = evidence(WORLD.parties.platform, "gateway", WORLD.gateway, challenge=bytes(32), subject=SUBJECT)
LINES = [bytes([number]) * 32 for number in range(6)]
NODES = [bytes([number]) * 32 for number in range(3)]

FAILED = (FailedCheck(check="release.role", shortfall="the contract names no clerk"),)


class Model:
    """What came, and what of it stands in entries or is counted in one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.refusals = Refusals(clock=lambda: self.now)
        self.came: Counter[bytes] = Counter()
        self.logged: Counter[bytes] = Counter()
        self.omitted: Counter[bytes] = Counter()
        self.told: set[tuple[bytes, bytes]] = set()  # subject and node
        self.entries: set[tuple[bytes, bytes]] = set()
        self.numbers: list[int] = []

    def refuse(self, line: bytes, node: bytes) -> None:
        self.came[line] += 1
        with contextlib.suppress(TooMuch):
            self.refusals.note(replace(refused_evidence(line, SHOWN, "assets", FAILED, at=NOON), node=node))
            self.told.add((line, node))

    def look(self, most: int) -> int:
        """How many entries were logged, `most` at the most."""
        self.refusals.settle()
        for count in range(most):
            made = self.refusals.first()
            if made is None:
                return count
            self.numbers.append(made.number)
            self.logged[made.subject] += 1
            self.entries.add((made.subject, made.node))
            self.omitted[made.subject] += made.omitted
            self.refusals.logged()
        return most


refused = st.tuples(st.sampled_from(LINES), st.sampled_from(NODES), st.integers(1, 12)).map(
    lambda drawn: lambda model: [model.refuse(drawn[0], drawn[1]) for _ in range(drawn[2])]
)
passes = st.integers(1, 600).map(lambda seconds: lambda model: setattr(model, "now", model.now + seconds))
looks = st.integers(1, 8).map(lambda most: lambda model: model.look(most))


@given(st.lists(refused | passes | looks, max_size=30))
def test_every_refusal_is_logged_or_counted_within_the_buckets(events):
    model = Model()
    for event in events:
        event(model)
    assert model.look(2 * WAITING) <= WAITING
    assert all(model.logged[line] <= BURST + model.now * PER_SECOND for line in LINES)
    # Who is told is in the log; and what is in no entry yet is told by one of its line, once there is room for it.
    assert model.told <= model.entries
    model.now += 2 / PER_SECOND
    model.look(2 * WAITING)
    assert model.logged + model.omitted == model.came
    assert model.numbers == sorted(set(model.numbers))
