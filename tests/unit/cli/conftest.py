import time

import pytest
from tests.doubles.relayed_service import RelayedService

from cloister.testing import world as worlds


@pytest.fixture
def now(monkeypatch):
    """This machine's time, at which the world is valid then: commands read the clock."""
    now = int(time.time())
    monkeypatch.setattr(worlds, "NOON", now)
    return now


@pytest.fixture
def service(now):
    """A service whose world is valid now."""
    service = RelayedService()
    service.now = now
    return service
