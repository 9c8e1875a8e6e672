"""What our log says, judged by others' code: Go's packages of the checksum database, scitt-cose, @transmute/cose.

Each judge takes all that is ours, and nothing that was changed in one place.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import scitt_cose
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.ledger.test_routes import ledger

from cloister.crypto.merkle import GrowingTree, consistency_path, inclusion_path, leaf_hash
from cloister.crypto.signing import SigningKey
from cloister.formats.checkpoint import ED25519, Checkpoint, format_vkey, parse_checkpoint, parse_note
from cloister.formats.tile import ENTRIES, Tile, encode_entry_bundle, parse_entry_bundle
from cloister.ledger.log_rules import LogRules
from cloister.ledger.receipts import sign_consistency, sign_inclusion
from cloister.peers.mirror import mirror
from cloister.peers.tiles import open_source
from cloister.storage.tile_folder import TileFolder

GOCODE = Path("/usr/share/gocode")  # where Debian puts Go's libraries
SUMDB = GOCODE / "src/golang.org/x/mod/sumdb/tlog"
SIZE, OLD = 600, 300  # three tiles of entries, one of them partial


@pytest.fixture(scope="session")
def sumdb(tmp_path_factory):
    """Asks Go's packages."""
    if shutil.which("go") is None or not SUMDB.is_dir():
        pytest.skip("no Go, or no golang-golang-x-mod-dev: apt-get install golang-go golang-golang-x-mod-dev")
    program = tmp_path_factory.mktemp("sumdb") / "sumdb"
    offline = {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": "", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", program, "tests/judges/sumdb.go"], check=True, env=os.environ | offline)

    def ask(*questions):
        asked = "".join(json.dumps(one) + "\n" for one in questions)
        answered = subprocess.run([program], input=asked, capture_output=True, text=True, check=True, timeout=60)
        return answered.stdout.splitlines()

    return ask


class Log:
    """A log of ours as others see it: served over HTTP, copied into a folder, with proofs that the ledger gave."""

    def __init__(self, folder, note, vkey, proofs):
        self.folder = folder
        self.note = note
        self.vkey = vkey
        self.proofs = proofs

    def asks(self, kind, **more):
        told = {"Kind": kind, "Note": self.note.decode(), "Vkey": self.vkey, **more}
        return {name: _text(value) for name, value in told.items()}


def _text(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_text(one) for one in value] if isinstance(value, list | tuple) else value


@pytest.fixture
async def log(tmp_path):
    async with ledger(tmp_path, admit=lambda _: None) as (life, client, url):
        await life.sequencer.append_all([b"entry %d" % number for number in range(OLD)])
        old = parse_checkpoint(parse_note(await client.checkpoint()).text)
        await life.sequencer.append_all([b"entry %d" % number for number in range(OLD, SIZE)])
        rules = LogRules(life.sequencer.log, (life.witnesses[0].witness,), 1)
        async with open_source(url) as source:
            await mirror(source, TileFolder(tmp_path / "copy"), rules)
        note, log_key = await client.checkpoint(), life.sequencer.log
        proofs = [
            ("inclusion", {"Index": at, "Entry": b"entry %d" % at, "Path": await client.inclusion(at, SIZE)})
            for at in (0, 255, 256, 599)
        ]
        proofs.append(("consistency", {"Old": OLD, "Root": old.root, "Path": await client.consistency(OLD, SIZE)}))
        vkey = format_vkey(log_key.origin, log_key.key, kind=ED25519)
        yield Log(TileFolder(tmp_path / "copy"), note, vkey, proofs)


def test_gos_sumdb_packages_verify_our_checkpoint_tiles_and_proofs(log, sumdb):
    questions = [log.asks("note"), log.asks("tiles", Folder=str(log.folder.root))]
    questions += [log.asks(kind, **more) for kind, more in log.proofs]
    assert sumdb(*questions) == ["yes"] * 7


def test_gos_sumdb_packages_refuse_each_proof_that_was_changed(log, sumdb):
    questions = []
    for kind, more in log.proofs:
        path = list(more["Path"])
        questions.append(log.asks(kind, **more | {"Path": [bytes(32), *path[1:]]}))
        questions.append(log.asks(kind, **more | {"Path": path[:-1]}))
        changed = {"Entry": b"another"} if kind == "inclusion" else {"Root": bytes(32)}
        questions.append(log.asks(kind, **more | changed))
    assert {answer[:3] for answer in sumdb(*questions)} == {"no:"}


def checkpoints_that_were_changed(note):
    head = parse_checkpoint(parse_note(note).text)
    for change in ({"size": SIZE - 1}, {"root": bytes(32)}, {"origin": "other.test"}):
        yield note.replace(head.text().encode(), replace(head, **change).text().encode())
    yield note.replace(b"\n\n", b"\nextension\n\n")


def test_gos_sumdb_packages_refuse_a_checkpoint_that_was_changed(log, sumdb):
    questions = [log.asks("note") | {"Note": note.decode()} for note in checkpoints_that_were_changed(log.note)]
    assert [answer[:3] for answer in sumdb(*questions)] == ["no:"] * 4


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001"])
def test_gos_sumdb_packages_refuse_tiles_and_bundles_that_were_changed(log, sumdb, path):
    data = (log.folder.root / path).read_bytes()
    if "entries" in path:
        first, *others = parse_entry_bundle(data, Tile(ENTRIES, 1))
        changed = encode_entry_bundle([first + b"!", *others])
    else:
        changed = bytes([data[0] ^ 1]) + data[1:]
    log.folder.write(path, changed)
    (answer,) = sumdb(log.asks("tiles", Folder=str(log.folder.root)))
    assert answer.startswith("no:")
    log.folder.write(path, data)
    assert sumdb(log.asks("tiles", Folder=str(log.folder.root))) == ["yes"]


@pytest.fixture(scope="session")
def transmute():
    """Asks @transmute/cose."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm, or no node: apt-get install npm")
    folder = _installed(Path("tests/judges/cose"))

    def ask(*questions):
        asked = "".join(json.dumps({name: _text(value) for name, value in one.items()}) + "\n" for one in questions)
        program = ["node", folder / "judge.mjs"]
        answered = subprocess.run(program, input=asked, capture_output=True, text=True, check=True, timeout=60)
        return answered.stdout.splitlines()

    return ask


def _installed(source):
    """A folder with the program and what its lock file pins; kept in the user's cache, so that it is fetched once."""
    files = [source / name for name in ("package.json", "package-lock.json", "judge.mjs")]
    name = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloister-tests"
    if (cache / name).is_dir():
        return cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for path in files:
            shutil.copy(path, made)
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
        ran = subprocess.run(install, cwd=made, capture_output=True, text=True, check=False, timeout=120)
        if ran.returncode:
            pytest.skip(f"npm ci could not fetch @transmute/cose: {ran.stderr.strip().splitlines()[-1]}")
        shutil.copytree(made, cache / name, symlinks=True, dirs_exist_ok=True)
    return cache / name


KEY = SigningKey.generate()
PEM = Ed25519PublicKey.from_public_bytes(KEY.public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ENTRIES_OF_TREE = [b"entry %d" % number for number in range(11)]
TREE = GrowingTree()
TREE.extend(map(leaf_hash, ENTRIES_OF_TREE))
HEAD = Checkpoint("log.test/cloister", 11, TREE.root(11))


def inclusion(index, *, path=None, head=HEAD):
    path = inclusion_path(index, head.size, TREE.subtree) if path is None else path
    return {"key": PEM.decode(), "receipt": sign_inclusion(KEY, head, index, path), "entry": ENTRIES_OF_TREE[index]}


def consistency(old):
    receipt = sign_consistency(KEY, HEAD, old, consistency_path(old, 11, TREE.subtree))
    return {"key": PEM.decode(), "receipt": receipt, "oldRoot": TREE.root(old), "newRoot": HEAD.root}


def test_transmutes_cose_takes_our_receipts(transmute):
    # Not for old sizes that are powers of two: there its Merkle package leaves out step 2 of RFC 9162 section 2.1.4.2
    # ("prepend first_hash"), and refuses every proof. scitt-cose and Go's tlog judge those.
    questions = [inclusion(index) for index in range(11)] + [consistency(old) for old in (3, 5, 6, 7, 9, 10)]
    assert transmute(*questions) == ["yes"] * 17


def test_transmutes_cose_refuses_receipts_that_were_changed(transmute):
    good, grown = inclusion(4), consistency(5)
    path = inclusion_path(4, 11, TREE.subtree)
    flipped = good["receipt"][:-1] + bytes([good["receipt"][-1] ^ 1])
    other = Ed25519PublicKey.from_public_bytes(SigningKey.generate().public)
    stranger = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    answers = transmute(
        good | {"entry": ENTRIES_OF_TREE[5]},
        good | {"receipt": flipped},
        good | {"key": stranger},
        inclusion(4, path=(bytes(32), *path[1:])),
        inclusion(4, path=path[::-1]),
        inclusion(4, head=replace(HEAD, root=bytes(32))),
        grown | {"oldRoot": TREE.root(4)},
        grown | {"newRoot": TREE.root(10)},
        grown | {"key": stranger},
    )
    assert [answer[:3] for answer in answers] == ["no:"] * 9


def test_scitt_cose_refuses_receipts_that_were_changed():
    def judged(index=4, **changes):
        asked = inclusion(index) | changes
        entry = asked["entry"].hex()
        return scitt_cose.verify_receipt(asked["receipt"], leaf_entry_hex=entry, log_public_key_pem=PEM).ok

    assert judged()
    good = inclusion(4)["receipt"]
    for at in range(0, len(good), 7):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        # The root is signed, the size is not: one at which the path has the same shape (10 for 11) is as good.
        assert judged(receipt=changed) == (b"\x83\x0b\x04" in good and b"\x83\x0a\x04" in changed), at
    assert not judged(entry=b"another")
    assert not judged(receipt=inclusion(5)["receipt"])
