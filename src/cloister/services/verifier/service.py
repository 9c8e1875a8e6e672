"""A verifier's life from start to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cloister.endorsements.endorsing import endorsing_of
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.appraisal_policy_file import parse_verifier_policy
from cloister.formats.verifier_policy import VerifierPolicy
from cloister.hosting import logs
from cloister.hosting.listening import listen_to_everyone
from cloister.hosting.loopback import run_until_stopped
from cloister.hosting.serving import serve_until
from cloister.services.verifier.routes import routes
from cloister.services.verifier.settings import VerifierSettings
from cloister.services.verifier.signing_keys import SigningKeys
from cloister.services.verifier.verifier import Verifier


def run(settings: VerifierSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises as `serve_verifier`."""
    logs.configure("verifier", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_verifier(settings, stop, clock=_now)

    run_until_stopped(main)


async def serve_verifier(settings: VerifierSettings, stop: asyncio.Event, *, clock: Callable[[], int]) -> None:
    """Serve until `stop` is set.

    Raises:
        UsageError: settings that make no sense, a policy or key that cannot be read.
        Unavailable: the port is taken.
    """
    policies = read_policies(settings.policies)
    keys = SigningKeys.open(settings.folder / "keys", key_seconds=settings.tokens.key_seconds, at=clock())
    limits = settings.limits
    async with endorsing_of(settings.endorsements) as endorsing:
        verifier = Verifier(settings.issuer, policies, keys, endorsing, limits=settings.tokens, clock=clock)
        listening = listen_to_everyone(settings.address, settings.port, settings.tls)
        app = routes(verifier, limits=limits)
        await serve_until(app, listening.socket, stop, ready=settings.ready, limits=limits, tls=listening.tls)


def read_policies(paths: Mapping[str, Path]) -> dict[str, VerifierPolicy]:
    """The policies by name.

    Raises:
        UsageError: one cannot be read, or is none.
    """
    return {name: _read_policy(name, path) for name, path in paths.items()}


def _read_policy(name: str, path: Path) -> VerifierPolicy:
    try:
        return parse_verifier_policy(path.read_bytes())
    except OSError as error:
        raise UsageError(f"the policy {name} cannot be read from {path}: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"the policy {name} in {path}: {error}") from error


def _now() -> int:
    return int(time.time())  # noqa: TID251 - a token's time is this machine's, which is what it says
