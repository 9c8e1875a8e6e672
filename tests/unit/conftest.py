import time

import pytest
from tests.doubles.relayed_service import RelayedService


@pytest.fixture
def now():
    """This machine's time, which commands and transports read: what they talk to must be valid then."""
    return int(time.time())


@pytest.fixture
def service(now):
    """A service whose world is valid now."""
    return RelayedService(now)
