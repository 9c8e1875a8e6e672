"""The file in which a person keeps what their client insists on."""

from __future__ import annotations

from pathlib import Path

from cloister.client.durable import read_at_most
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.trust_policy import MAXIMUM_TRUST_POLICY, TrustPolicy, parse_trust_policy


class NoTrustPolicy(UsageError):
    """There is no such file."""


def read_trust_policy(path: Path) -> TrustPolicy:
    """The trust policy in the file at `path`.

    Raises:
        NoTrustPolicy: there is no such file.
        UsageError: it cannot be read, or is none; the sentence names the file and the key.
    """
    try:
        return parse_trust_policy(read_at_most(path, MAXIMUM_TRUST_POLICY))
    except FileNotFoundError as error:
        raise NoTrustPolicy(f"there is no trust policy {path}") from error
    except OSError as error:
        raise UsageError(f"the trust policy {path} cannot be read: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(
            f"{path} is {error}; docs/formats/trust-policy.md says what one holds. Restore the file: what it pins is"
            " all that a client trusts"
        ) from error
