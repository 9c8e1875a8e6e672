"""What all tests stand on."""

import signal

import pytest
from hypothesis import settings
from tests.doubles.postgresql import running_server

# A slow machine is no fault of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Who was started in the background by a shell ignores ctrl-C, and so do its children; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_of_this_process():
    with running_server() as server:
        yield server


@pytest.fixture
def postgresql(server_of_this_process):
    """A PostgreSQL server for all tests of this process; who stops it starts it again."""
    server_of_this_process.revive()
    return server_of_this_process
