"""A vendor's service that fails in any way is waited for, within bounds, or given up by name."""

import asyncio
from email.utils import formatdate

import pytest
from tests.doubles import vendor_faults as faults
from tests.doubles.vendor_evidence import NOON, VENDORS

from cloister.endorsements.vendor_site import (
    Patience,
    VendorRefused,
    VendorSite,
    VendorUnavailable,
    VendorUnknown,
    Waits,
)
from cloister.errors import UsageError
from cloister.testing.vendor_services import VendorServices

PATH, LIMIT = "/IntelSGXRootCA.der", 4096
PATIENCE = Patience(answer_seconds=20, total_seconds=60, tries=4, first_pause_seconds=2)
IMPATIENT = Patience(answer_seconds=0.2, total_seconds=60, tries=2, first_pause_seconds=2)


class Pauses:
    """Pauses that take no time, and how long they were to be."""

    def __init__(self):
        self.seconds = []

    async def pause(self, seconds):
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def services():
    async with VendorServices(VENDORS) as running:
        yield running


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
async def site(services, pauses):
    waits = Waits(now=lambda: float(NOON), pause=pauses.pause)
    async with VendorSite("the vendor", services.url, patience=PATIENCE, waits=waits) as running:
        yield running


async def ask(site):
    return await site.get(PATH, limit=LIMIT)


async def test_an_answer_comes_with_its_headers(site):
    answer = await ask(site)
    assert answer.body.startswith(b"\x30")
    assert answer.headers["CONTENT-LENGTH"] == str(len(answer.body))


@pytest.mark.parametrize("number", [500, 502, 503, 504, 408, 429])
async def test_a_service_that_fails_for_now_is_asked_again(number, services, site, pauses):
    services.fault = faults.status(number, times=3)
    await ask(site)
    assert len(services.asked) == 4
    first, second, third = pauses.seconds
    assert 2 <= first < second < third <= 12


async def test_a_service_that_goes_on_failing_is_given_up(services, site):
    services.fault = faults.status(500)
    with pytest.raises(VendorUnavailable, match="the vendor did not answer: status 500") as told:
        await ask(site)
    assert told.value.retry
    assert len(services.asked) == PATIENCE.tries


async def test_the_pauses_end_with_the_time_for_all_tries(services, pauses):
    services.fault = faults.status(500)
    waits = Waits(pause=pauses.pause)
    patience = Patience(total_seconds=1, tries=9, first_pause_seconds=2)
    async with VendorSite("the vendor", services.url, patience=patience, waits=waits) as site:
        with pytest.raises(VendorUnavailable):
            await ask(site)
    assert (len(services.asked), pauses.seconds) == (1, [])


@pytest.mark.parametrize("value", ["7", formatdate(NOON + 7, usegmt=True)], ids=["seconds", "a date"])
@pytest.mark.parametrize("number", [429, 503])
async def test_retry_after_is_heeded_in_both_forms(value, number, services, site, pauses):
    services.fault = faults.status(number, times=1, Retry_After=value)
    await ask(site)
    (waited,) = pauses.seconds
    assert 6 < waited <= 7


async def test_all_who_ask_heed_what_one_was_told(services, site, pauses):
    services.fault = faults.status(429, times=1, Retry_After="7")
    await ask(site)
    await ask(site)
    assert len(pauses.seconds) == 2
    assert len(services.asked) == 3


async def test_a_rest_that_is_too_long_is_said_at_once(services, site, pauses):
    services.fault = faults.status(429, Retry_After="900")
    for _ in range(2):
        with pytest.raises(VendorUnavailable, match=r"come back in (900|899) s"):
            await ask(site)
    assert (len(services.asked), pauses.seconds) == (1, [])


@pytest.mark.parametrize("value", ["-1", "soon", "1e9", "9" * 40, "²", "Thu, 99 Foo 2026 99:99:99 GMT"])
async def test_a_retry_after_that_is_none_is_passed_over(value, services, site, pauses):
    services.fault = faults.status(503, times=1, Retry_After=value)
    await ask(site)
    assert 2 <= pauses.seconds[0] <= 3


async def test_no_answer_silences_us_for_longer_than_an_hour(services, site):
    services.fault = faults.status(429, Retry_After="99999999")
    with pytest.raises(VendorUnavailable, match="come back in 3600 s"):
        await ask(site)


@pytest.mark.parametrize(
    "fault", [faults.cut, faults.truncated, faults.slow, faults.silent], ids=lambda fault: fault.__name__
)
async def test_a_connection_that_breaks_or_stands_still_is_tried_again_and_given_up(fault, services, pauses):
    services.fault = fault
    waits = Waits(pause=pauses.pause)
    async with VendorSite("the vendor", services.url, patience=IMPATIENT, waits=waits) as site:
        with pytest.raises(VendorUnavailable, match=r"the connection failed|nothing within 0\.2 s"):
            await ask(site)
    assert len(services.asked) >= IMPATIENT.tries


async def test_nobody_there_is_said(pauses):
    waits = Waits(pause=pauses.pause)
    async with VendorSite("the vendor", "http://127.0.0.1:1", patience=PATIENCE, waits=waits) as site:
        with pytest.raises(VendorUnavailable, match="the connection failed"):
            await ask(site)


async def test_a_body_over_the_limit_is_not_read_to_its_end(services, site):
    pieces: list[int] = []
    services.fault = faults.endless(pieces)
    with pytest.raises(VendorRefused, match="more than 4096 bytes") as told:
        await ask(site)
    assert not told.value.retry
    assert sum(pieces) < 32 * 1024 * 1024


async def test_a_body_that_announces_more_than_the_limit_is_not_read_at_all(services, site):
    services.fault = faults.announced(LIMIT + 1)
    with pytest.raises(VendorRefused, match="more than 4096 bytes"):
        await ask(site)


async def test_a_redirect_on_the_same_host_is_followed(services, site):
    services.fault = faults.redirect(PATH + "?again", times=2)
    assert (await ask(site)).body
    assert services.asked == [PATH, PATH + "?again", PATH + "?again"]


async def test_redirects_without_end_are_given_up(services, site):
    services.fault = faults.redirect(PATH)
    with pytest.raises(VendorRefused, match="redirects more than 3 times"):
        await ask(site)


@pytest.mark.parametrize(
    "target",
    ["http://localhost:1/", "http://127.0.0.1:1/", "https://127.0.0.1/", "//elsewhere.test/", "file:///etc/passwd"],
)
async def test_a_redirect_elsewhere_is_not_followed(target, services, site):
    services.fault = faults.redirect(target)
    with pytest.raises(VendorRefused, match="another host"):
        await ask(site)
    assert len(services.asked) == 1


@pytest.mark.parametrize("number", [404, 410])
async def test_what_a_service_does_not_have_is_not_asked_for_again(number, services, site):
    services.fault = faults.status(number)
    with pytest.raises(VendorUnknown, match=f"does not have {PATH}"):
        await ask(site)
    assert len(services.asked) == 1


@pytest.mark.parametrize("number", [201, 204, 304, 400, 401, 403, 418])
async def test_any_other_status_is_a_refusal(number, services, site):
    services.fault = faults.status(number)
    with pytest.raises(VendorRefused, match=f"status {number}"):
        await ask(site)
    assert len(services.asked) == 1


async def test_no_more_than_some_questions_are_open_at_once(services, site):
    open_now, most = [0], [0]

    async def counted(_request):
        open_now[0] += 1
        most[0] = max(most[0], *open_now)
        await asyncio.sleep(0.02)
        open_now[0] -= 1

    services.fault = counted
    await asyncio.gather(*(ask(site) for _ in range(24)))
    assert most[0] <= 8


@pytest.mark.parametrize(
    "url", ["http://vendor.test", "ftp://127.0.0.1", "127.0.0.1", "https://x/?q", "http://10.0.0.1"]
)
def test_only_https_is_spoken_but_on_this_machine(url):
    with pytest.raises(UsageError, match="not the address of the vendor"):
        VendorSite("the vendor", url)


@pytest.mark.parametrize(
    "url", ["https://vendor.test/mirror/", "http://127.0.0.1:8000", "http://[::1]:1", "http://localhost"]
)
def test_https_and_this_machine_are_taken(url):
    VendorSite("the vendor", url)
