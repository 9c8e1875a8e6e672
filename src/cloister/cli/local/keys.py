"""The keys that a local system owns: every party's at once, which is what makes it local."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.storage.key_file import read_signing_key, write_signing_key

NAMES = ("platform", "log", "witness", "model-owner", "operator")
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """One Ed25519 key each."""

    platform: SigningKey
    log: SigningKey
    witness: SigningKey
    model_owner: SigningKey
    operator: SigningKey

    @property
    def parties(self) -> tuple[SigningKey, SigningKey]:
        """Who signs constitution and contract."""
        return (self.model_owner, self.operator)


def seed_path(state: StateFolder, name: str) -> Path:
    """Where the seed of the key `name` is."""
    return state.keys / f"{name}.seed"


def open_keys(state: StateFolder) -> LocalKeys:
    """The system's keys; made where nothing was signed with them yet.

    Raises:
        UsageError: one is missing although the constitution in the folder names it, or it is damaged.
    """
    signed = state.constitutions.exists()
    for path in (seed_path(state, name) for name in NAMES):
        if not path.exists():
            if signed:
                raise UsageError(
                    f"the key {path} is missing, and what was signed in {state.root} depends on it: restore it,"
                    " or begin anew with another --state DIR"
                )
            write_signing_key(path, SigningKey.generate())
    return LocalKeys(*(read_signing_key(seed_path(state, name)) for name in NAMES))


def make_token(state: StateFolder, *, anew: bool) -> None:
    """Make the proxy's bearer token, which keeps this machine's other users out; `anew` replaces the one there is."""
    if anew or not state.token.exists():
        replace_file(state.token, f"cloister-{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
