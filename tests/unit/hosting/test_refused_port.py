import errno
import os
import socket

import pytest

from cloister.errors import Unavailable, UsageError
from cloister.hosting.loopback import LOOPBACK, listen
from cloister.hosting.refused_port import refused_port


def test_a_port_that_another_program_has_is_named_with_what_to_do():
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(Unavailable) as raised:
        listen(LOOPBACK, taken.getsockname()[1])
    assert "is taken by another program" in str(raised.value)
    assert "ss -ltnp" in str(raised.value)


def test_a_port_of_roots_is_a_matter_of_usage_and_says_which_are_not():
    refused = refused_port(LOOPBACK, 80, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    assert isinstance(refused, UsageError)
    assert "ports below 1024 are root's" in str(refused)
    assert "choose one from 1024 to 65535" in str(refused)


def test_any_other_reason_is_said_in_the_systems_words():
    refused = refused_port(LOOPBACK, 8400, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)))
    assert str(refused) == "port 8400 of 127.0.0.1 cannot be had: Cannot assign requested address"
