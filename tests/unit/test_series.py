"""What the log adds up to grows at its end, and stays what it was."""

import pytest

from cloister.contract.series import RUN, Series


@pytest.mark.parametrize("size", [0, 1, RUN - 1, RUN, RUN + 1, 3 * RUN, 3 * RUN + 7])
def test_a_series_is_its_items_however_it_was_made(size):
    grown: Series[int] = Series()
    for item in range(size):
        grown = grown.and_one(item)
    assert [*grown] == [*range(size)]
    assert [*reversed(grown)] == [*range(size)][::-1]
    assert len(grown) == size
    assert bool(grown) == bool(size)
    assert grown == Series.of(range(size))
    assert hash(grown) == hash(Series.of(range(size)))


def test_what_grows_from_one_series_leaves_it_and_the_other_as_they_are():
    common = Series.of(range(RUN - 1))
    left, right = common.and_one(-1), common.and_one(-2).and_one(-3)
    assert len(common) == RUN - 1
    assert [*left][-1] == -1
    assert [*right][-2:] == [-2, -3]


def test_full_runs_are_shared_and_not_copied():
    long = Series.of(range(100 * RUN))
    assert all(one is other for one, other in zip(long.runs, long.and_one(1).runs, strict=True))
