"""The witnesses' time is a floor under the host's clock."""

from cloister.node.witnessed_clock import WitnessedClock


def test_the_host_is_believed_until_witnesses_say_that_it_is_later():
    clock = WitnessedClock(lambda: 1000)
    assert clock() == 1000
    clock.hear(900)
    assert clock() == 1000
    clock.hear(2000)
    assert 2000 <= clock() < 2060


def test_a_host_that_stops_its_clock_does_not_stop_time():
    clock = WitnessedClock(lambda: 1000)
    clock.hear(2000)
    first = clock()
    while clock() == first:
        pass
    assert clock() > first


def test_an_older_time_takes_nothing_back_and_the_hosts_clock_may_be_ahead():
    host = [1000]
    clock = WitnessedClock(lambda: host[0])
    clock.hear(2000)
    clock.hear(1500)
    assert clock() >= 2000
    host[0] = 3000
    assert clock() == 3000
    host[0] = 0
    assert 2000 <= clock() < 2060
