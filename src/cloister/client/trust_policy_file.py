"""The trust policy as a file: what a client insists on, written by a person."""

from __future__ import annotations

from pathlib import Path

from cloister.client.durable import read_at_most
from cloister.errors import UsageError
from cloister.formats.trust_policy import MAXIMUM_TRUST_POLICY, TrustPolicy, parse_trust_policy


def read_trust_policy(path: Path) -> TrustPolicy:
    """The trust policy in the file at `path`.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        return parse_trust_policy(read_at_most(path, MAXIMUM_TRUST_POLICY))
    except OSError as error:
        raise UsageError(f"the trust policy {path} cannot be read: {error.strerror}") from error
