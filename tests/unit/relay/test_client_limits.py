"""What one client may ask, who counts as one, and what is kept of it."""

import pytest

from cloister.errors import UsageError
from cloister.services.relay.client_limits import (
    MAXIMUM_CLIENTS,
    SALT_SECONDS,
    Clients,
    Share,
    network_of,
    retry_after,
)

SHARE = Share(rate=2.0, burst=4, requests=3, connections=2)


@pytest.fixture
def clients():
    return Clients(SHARE, ["10.0.0.0/8", "2001:db8:f::/48"], 0.0)


def taken(client, now):
    """How many requests in a row are admitted."""
    count = 0
    while not client.refused_for(now):
        count += 1
    return count


def test_a_burst_is_admitted_and_then_the_rate(clients):
    client = clients.at("192.0.2.1", 0.0)
    assert taken(client, 0.0) == 4
    assert client.refused_for(0.0) == 0.5
    assert taken(client, 1.0) == 2
    assert taken(client, 1000.0) == 4


def test_a_clock_that_goes_back_gives_nothing(clients):
    client = clients.at("192.0.2.1", 100.0)
    taken(client, 100.0)
    assert client.refused_for(50.0) > 0


def test_requests_at_a_time_and_connections_are_counted(clients):
    client = clients.at("192.0.2.1", 0.0)
    client.requests = 3
    assert client.refused_for(0.0) == 1.0
    client.connections = 2
    assert not client.crowded()
    client.connections = 3
    assert client.crowded()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "127.0.0.1", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(clients, one, other, same):
    assert (clients.at(one, 0.0) is clients.at(other, 0.0)) is same
    assert (network_of(one) == network_of(other)) is same


@pytest.mark.parametrize(
    ("forwarded", "named"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"8.8.8.8, 192.0.2.1", "192.0.2.1"),
        (b"8.8.8.8, 192.0.2.1, 10.1.1.1", "192.0.2.1"),
        (b"2001:db8::1,2001:db8:f::1", "2001:db8::1"),
        (b"10.1.1.1", None),
        (b"192.0.2.1, unknown", None),
        (b"192.0.2.1, \xff", None),
        (b"", None),
        (None, None),
    ],
)
def test_of_the_forwarded_addresses_the_last_that_is_no_front_end_counts(clients, forwarded, named):
    assert clients.behind(forwarded) == named


def test_only_named_networks_speak_for_others(clients):
    assert clients.is_front_end("10.9.9.9")
    assert not clients.is_front_end("192.0.2.1")
    assert not clients.is_front_end("")
    assert not Clients(SHARE, [], 0.0).is_front_end("10.9.9.9")
    with pytest.raises(UsageError, match="trusted_proxies"):
        Clients(SHARE, ["10.0.0.1/8"], 0.0)


def test_who_has_gone_and_has_its_share_back_is_forgotten(clients):
    client = clients.at("192.0.2.1", 0.0)
    client.refused_for(0.0)
    clients.forget(0.4)
    assert clients.at("192.0.2.1", 0.4) is client
    client.connections = 1
    clients.forget(9.0)
    assert clients.at("192.0.2.1", 9.0) is client
    client.connections = 0
    clients.forget(9.0)
    assert clients.at("192.0.2.1", 9.0) is not client


def test_the_table_and_its_salt_are_thrown_away_in_time_and_when_full(clients):
    client = clients.at("192.0.2.1", 0.0)
    client.connections = 1
    clients.forget(SALT_SECONDS)
    assert clients.at("192.0.2.1", SALT_SECONDS) is not client
    for number in range(MAXIMUM_CLIENTS):
        clients.at(f"172.{number >> 16}.{number >> 8 & 255}.{number & 255}", SALT_SECONDS)
    assert len(clients) < MAXIMUM_CLIENTS


def test_nothing_that_is_kept_says_an_address(clients):
    clients.at("192.0.2.1", 0.0)
    kept = repr({name: getattr(clients, name) for name in vars(clients) if name != "_salt"})
    assert "192" not in kept
    assert repr(bytes([192, 0, 2, 1])) not in kept


def test_a_retry_is_told_in_whole_seconds():
    assert [retry_after(seconds) for seconds in (0.01, 1.0, 1.2)] == [1, 1, 2]
