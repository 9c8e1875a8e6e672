"""The keys that a local system owns: every party's at once, which is what makes it local."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cloister.cli.state_folder import StateFolder
from cloister.client.durable import replace_file
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.ledger.cosignatures import WitnessKeys
from cloister.storage.key_file import read_ml_dsa_key, read_signing_key, write_signing_key

NAMES = ("platform", "log", "witness", "model-owner", "operator")
WITNESS_ML_DSA = "witness-ml-dsa"
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """One Ed25519 key each, and a second of the witness's, which outlives Ed25519."""

    platform: SigningKey
    log: SigningKey
    witness: SigningKey
    model_owner: SigningKey
    operator: SigningKey
    witness_ml_dsa: MlDsaKey

    @property
    def witness_keys(self) -> WitnessKeys:
        """What the witness signs with."""
        return WitnessKeys(self.witness, self.witness_ml_dsa)

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
    for name in (*NAMES, WITNESS_ML_DSA):
        path = seed_path(state, name)
        if not path.exists():
            if signed:
                raise UsageError(
                    f"the key {path} is missing, and what was signed in {state.root} depends on it: restore it,"
                    " or begin anew with another --state DIR"
                )
            write_signing_key(path, MlDsaKey.generate() if name == WITNESS_ML_DSA else SigningKey.generate())
    platform, log, witness, owner, operator = (read_signing_key(seed_path(state, name)) for name in NAMES)
    return LocalKeys(platform, log, witness, owner, operator, read_ml_dsa_key(seed_path(state, WITNESS_ML_DSA)))


def make_token(state: StateFolder, *, anew: bool) -> None:
    """Make the proxy's bearer token, which keeps this machine's other users out; `anew` replaces the one there is."""
    if anew or not state.token.exists():
        replace_file(state.token, f"cloister-{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
