"""However refusals come and go, each is in an entry or counted in one, and no line gets more than its bucket holds."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import Refused
from cloister.examination import Steps
from cloister.services.kms.refusals import BURST, PER_SECOND, WAITING, Refusals
from cloister.testing.world import NOON, World, evidence

WORLD = World()
SUBJECT = WORLD.contract.digest()
SHOWN = evidence(WORLD.parties.platform, "gateway", WORLD.gateway, challenge=bytes(32), subject=SUBJECT)
LINES = [bytes([number]) * 32 for number in range(6)]


def examined():
    steps: Steps = Steps(("release.role",), Refused)
    steps.check("release.role", False, "the contract names no clerk")
    return steps.stopped()


class Model:
    """What came, and what of it stands in entries or is counted in one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.refusals = Refusals(clock=lambda: self.now)
        self.came: Counter[bytes] = Counter()
        self.logged: Counter[bytes] = Counter()
        self.omitted: Counter[bytes] = Counter()

    def refuse(self, line: bytes) -> None:
        self.refusals.note(line, SHOWN, examined(), "assets", at=NOON)
        self.came[line] += 1

    def look(self, most: int) -> int:
        """How many entries were logged, `most` at the most."""
        for count in range(most):
            made = self.refusals.first()
            if made is None:
                return count
            self.logged[made.contract] += 1
            self.omitted[made.contract] += made.omitted
            self.refusals.logged()
        return most


refused = st.tuples(st.sampled_from(LINES), st.integers(1, 12)).map(
    lambda drawn: lambda model: [model.refuse(drawn[0]) for _ in range(drawn[1])]
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
    # Whatever is in no entry yet is told by the next one of its line, once there is room for that.
    model.now += 2 / PER_SECOND
    for line in list(model.came):
        model.refuse(line)
    model.look(2 * WAITING)
    assert model.logged + model.omitted == model.came
