"""A `RelayedService` as the command line is told of it: a trust policy, a relay, and a speech file beside them."""

import contextlib

from tests.doubles.http_peers import serving
from tests.speech import tone, wav

from cloister.formats.trust_policy import format_trust_policy


@contextlib.asynccontextmanager
async def served(service, home, **policy):
    """The options that name `service`, whose trust policy is in `home`; beside it lies a speech file."""
    (home / "policy.toml").write_text(format_trust_policy(service.world.policy(**policy), comment="tests"))
    (home / "speech.wav").write_bytes(wav(tone(0.1)))
    async with serving(service.answer) as relay:
        yield ("--policy", "policy.toml", "--relay", str(relay))
