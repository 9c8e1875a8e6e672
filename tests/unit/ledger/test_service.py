"""Settings that a ledger or a witness will not start with."""

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput, UsageError
from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, ED25519, format_vkey
from cloister.services.ledger.service import serve_ledger
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress
from cloister.services.witness.service import serve_witness
from cloister.services.witness.settings import WitnessSettings
from cloister.storage.key_file import write_signing_key


def vkey(name, *, kind, key=None):
    return format_vkey(name, SigningKey.generate().public if key is None else key, kind=kind)


def witness(name="witness.test", *, key=None, kind=COSIGNATURE_V1, url="http://127.0.0.1:1"):
    return WitnessAddress(vkey=vkey(name, kind=kind, key=key), url=url)


def post_quantum(name="witness.test", *, kind=COSIGNATURE_ML_DSA, key=bytes(1312)):
    return msgspec.structs.replace(witness(), ml_dsa_vkey=vkey(name, kind=kind, key=key))


@pytest.fixture
def key(tmp_path):
    write_signing_key(tmp_path / "log.seed", SigningKey.generate())
    return tmp_path / "log.seed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": Path("/nowhere")}, "cannot be read"),
        ({"quorum": 0}, "a quorum of 0 out of 1"),
        ({"quorum": 2}, "a quorum of 2 out of 1"),
        ({"witnesses": ()}, "a quorum of 1 out of 0"),
        ({"witnesses": (witness(), witness())}, "its own name"),
        ({"witnesses": (witness(key=bytes(32)), witness("other.test", key=bytes(32)))}, "its own key"),
        ({"witnesses": (witness(kind=ED25519),)}, "is not a witness's Ed25519 key"),
        ({"witnesses": (post_quantum("other.test"),)}, "under the same name"),
        ({"witnesses": (post_quantum(kind=COSIGNATURE_V1, key=bytes(32)),)}, "is not its ML-DSA-44 key"),
        ({"witnesses": (witness(url="ftp://127.0.0.1"),)}, "is not the address of the witness witness.test"),
        ({"witnesses": (WitnessAddress(vkey="x", url="http://127.0.0.1:1"),)}, "a verifier key is"),
    ],
)
async def test_a_ledger_does_not_start_with(tmp_path, key, change, sentence):
    good = LedgerSettings(
        port=0, folder=tmp_path / "ledger", origin="log.test", key=key, witnesses=(witness(),), quorum=1
    )
    with pytest.raises((UsageError, MalformedInput), match=sentence):
        await serve_ledger(replace(good, **change), asyncio.Event())


@pytest.mark.parametrize(
    ("logs", "sentence"),
    [
        ((), "one log or more"),
        ((vkey("log.test", kind=ED25519), vkey("log.test", kind=ED25519)), "its own origin"),
        ((vkey("log.test", kind=COSIGNATURE_V1),), "is a witness's"),
        (("log.test",), "a verifier key is"),
    ],
)
async def test_a_witness_does_not_start_with(tmp_path, key, logs, sentence):
    settings = WitnessSettings(port=0, folder=tmp_path / "witness", name="witness.test", key=key, logs=logs)
    with pytest.raises((UsageError, MalformedInput), match=sentence):
        await serve_witness(settings, asyncio.Event())
