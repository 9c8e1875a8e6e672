"""Who may write to a ledger, over real TLS, and how fast."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.doubles.certificates import Authority

from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable, UsageError
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.release import Revocation
from cloister.formats.statement import CustodyKind, GoverningKind, is_of_kind
from cloister.hosting.allowance import TooMuch
from cloister.hosting.tls import ServerTls
from cloister.ledger.statements import sign_statement
from cloister.peers.exchange import PeerRefused
from cloister.peers.ledger import LedgerClient
from cloister.services.ledger.service import serve_ledger
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress
from cloister.services.ledger.writers import BRIM_BYTES, WEIGHED_AT_ONCE, WEIGHED_PER_SECOND, Writers
from cloister.services.witness.service import serve_witness
from cloister.services.witness.settings import WitnessSettings
from cloister.storage.key_file import write_signing_key

ENTRY = sign_statement(
    "revocation", Revocation(contract=bytes(32), target=bytes(32), reason="a test"), [SigningKey.generate()]
)


@contextlib.asynccontextmanager
async def running(serve, settings):
    """A service; its port."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop))
    while not settings.ready.exists():
        assert not task.done(), task.result()
        await asyncio.sleep(0.01)
    try:
        yield int(settings.ready.read_text())
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def ledger(folder, authority, **changes):
    """The URL of a ledger that knows `kms` and `auditor`, and whose witness knows it."""
    log, witness = SigningKey.generate(), SigningKey.generate()
    write_signing_key(folder / "log.seed", log)
    write_signing_key(folder / "witness.seed", witness)
    witnessing = WitnessSettings(
        port=0,
        folder=folder / "w",
        name="witness.test",
        key=folder / "witness.seed",
        logs=(format_vkey("log.test", log.public, kind=ED25519),),
        tls=authority.server("witness", clients=["ledger"]),
        ready=folder / "witness.port",
    )
    async with running(serve_witness, witnessing) as port:
        vkey = format_vkey("witness.test", witness.public, kind=COSIGNATURE_V1)
        settings = LedgerSettings(
            port=0,
            folder=folder / "l",
            origin="log.test",
            key=folder / "log.seed",
            witnesses=(WitnessAddress(vkey=vkey, url=f"https://127.0.0.1:{port}"),),
            quorum=1,
            tls=authority.server("ledger", clients=["kms", "auditor"]),
            peers=authority.peer("ledger"),
            writers=("kms",),
            ready=folder / "ledger.port",
        )
        async with running(serve_ledger, replace(settings, **changes)) as own:
            yield f"https://127.0.0.1:{own}"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def test_a_named_writer_writes_and_another_named_caller_only_reads(tmp_path, authority):
    async with (
        ledger(tmp_path, authority) as url,
        LedgerClient(url, peers=authority.peer("kms")) as kms,
        LedgerClient(url, peers=authority.peer("auditor")) as auditor,
    ):
        assert (await kms.append(ENTRY)).index == 0
        assert await auditor.entries(0, 1) == (ENTRY,)
        for write in (auditor.append(ENTRY), auditor.put_blob(b"x"), auditor.renew_checkpoint()):
            with pytest.raises(PeerRefused, match="may read the log, and not write to it"):
                await write


async def test_a_stranger_gets_no_answer_and_is_told_that_tls_failed(tmp_path, authority):
    async with ledger(tmp_path, authority) as url:
        async with LedgerClient(url, peers=authority.peer("stranger")) as stranger:
            with pytest.raises(Unavailable, match="the ledger cannot be reached"):
                await stranger.checkpoint()
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other")
        async with LedgerClient(url, peers=other.peer("kms")) as stranger:
            with pytest.raises(Unavailable, match=r"the ledger is not who it should be: .*certificate"):
                await stranger.checkpoint()


async def test_what_comes_faster_than_may_be_kept_is_told_to_come_back(tmp_path, authority):
    async with (
        ledger(tmp_path, authority, write_bytes_per_second=1) as url,
        LedgerClient(url, peers=authority.peer("kms")) as kms,
    ):
        for number in range(BRIM_BYTES // 2**24):
            await kms.put_blob(number.to_bytes(1, "big") * 2**24)
        with pytest.raises(Unavailable, match=r"bytes to be kept come faster than 1 a second; come back in \d+ s"):
            await kms.put_blob(b"x" * 1000)  # more than the seconds that this may take


def test_an_allowance_is_all_writers_together():
    writers = Writers((), None, per_second=1, clock=lambda: 0.0)
    writers.admit(frozenset())
    writers.charge(BRIM_BYTES)
    with pytest.raises(TooMuch):
        writers.charge(1)


KNOWN = ServerTls(certificate=Path("c"), key=Path("k"), client_ca=Path("a"), clients=("kms", "party"))


def of_kind(kind):
    return sign_statement(kind, Revocation(contract=bytes(32), target=bytes(32), reason="any"), [SigningKey.generate()])


@pytest.mark.parametrize(
    "kind", sorted({*get_args(CustodyKind), *get_args(GoverningKind), "contract", "kms", "release"})
)
def test_the_kind_of_an_entry_is_in_its_first_bytes(kind):
    entry = of_kind(kind)
    assert is_of_kind(entry, kind)
    assert is_of_kind(entry, "constitution", kind)
    assert not is_of_kind(entry, "constitution", "handover")


def test_a_caller_that_floods_the_log_with_what_all_weigh_is_held_up_and_nobody_else():
    """Of a stranger's contract lines there are as many as come in the seconds; the KMS goes on releasing."""
    now = [0.0]
    writers = Writers(("kms", "party"), KNOWN, per_second=10**9, clock=lambda: now[0])
    party, kms = frozenset({"party", "party.test"}), frozenset({"kms"})
    line, release = of_kind("contract"), of_kind("release")
    writers.charge_entries(party, [line] * WEIGHED_AT_ONCE, each=1)
    with pytest.raises(TooMuch, match="entries of kind constitution, contract, kms, time") as refused:
        writers.charge_entries(party, [release, of_kind("time")], each=1)
    assert refused.value.retry_seconds == 1
    writers.charge_entries(party, [release] * 5000, each=1)
    writers.charge_entries(kms, [line], each=1)
    now[0] += 1 / WEIGHED_PER_SECOND
    writers.charge_entries(party, [line], each=1)
    with pytest.raises(TooMuch):
        writers.charge_entries(party | {"another name of its own"}, [line], each=1)


def test_a_caller_is_held_up_before_its_bytes_are_counted():
    writers = Writers((), None, per_second=1, clock=lambda: 0.0)
    with pytest.raises(TooMuch):
        writers.charge_entries(frozenset(), [of_kind("time")] * (WEIGHED_AT_ONCE + 1), each=1)
    writers.charge(BRIM_BYTES)


@pytest.mark.parametrize(
    ("names", "clients", "sentence"),
    [((), ("kms",), "give writers: the names"), (("kms",), (), r"give \[tls\] with client_ca and clients, too")],
)
def test_writers_without_known_callers_and_known_callers_without_writers_are_refused(
    tmp_path, names, clients, sentence
):
    tls = ServerTls(
        certificate=tmp_path / "c", key=tmp_path / "k", client_ca=tmp_path / "a" if clients else None, clients=clients
    )
    with pytest.raises(UsageError, match=sentence):
        Writers(names, tls, per_second=1, clock=lambda: 0.0)
