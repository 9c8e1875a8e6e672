"""What must never be, whatever dies: held against everything that a log, its witnesses and its KMS let anyone see."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from cloister.crypto.hpke import KemPrivateKey, unwrap
from cloister.crypto.merkle import check_consistency, check_inclusion, leaf_hash, root
from cloister.formats import key_config
from cloister.formats.checkpoint import SignedNote, parse_checkpoint, parse_note
from cloister.formats.constitution import Log, Witness, parse_constitution
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.handover import parse_handover
from cloister.formats.hpke_suite import X_WING
from cloister.formats.key_bundle import KeyBundle, StateHead, parse_state_head
from cloister.formats.release import WRAP_INFO, ReleaseReply, parse_epoch, parse_release
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.cosignatures import cosignature_time
from cloister.ledger.statements import entry_digest, open_statement
from cloister.secret import SecretBytes


class Violation(AssertionError):
    """Something happened that must never."""


def require(true: bool, sentence: str) -> None:
    if not true:
        raise Violation(sentence)


def head_of(bundle: KeyBundle) -> StateHead:
    """What the head of an honest bundle says."""
    return parse_state_head(CoseSign1.parse(bundle.head).payload or b"")


class Model:
    """Remembers what was seen of one log since it began."""

    def __init__(self, log: Log, witnesses: Sequence[Witness], quorum: int) -> None:
        self._log = log
        self._witnesses = tuple(witnesses)
        self._quorum = quorum
        self.indices: dict[bytes, int] = {}  # of acknowledged entries
        self.roots: dict[int, bytes] = {}  # of checkpoints that a quorum cosigned, by size
        self.cosigned: dict[str, list[tuple[int, bytes]]] = {witness.name: [] for witness in witnesses}
        self.blobs: dict[bytes, bytes] = {}
        self.instances: dict[bytes, bytes] = {}  # the version of the code that each truly runs, by its key
        self._handed: set[bytes] = set()  # entries of handovers that were answered
        self._used: list[bytes] = []  # epoch entries of which a key went out, or that a client was shown
        self._released: list[tuple[int, bytes]] = []
        self._in_use: dict[tuple[int, bytes, int], int] = {}  # epochs, by checkpoint and its time
        self._ends: dict[bytes, int] = {}  # of the life of each epoch in the chain, by its entry's digest
        self._violation = ""  # the first, in words

    @property
    def newest(self) -> int:
        """The size of the largest checkpoint that anyone was shown."""
        return max(self.roots, default=0)

    def saw_cosignature(self, witness: Witness, lines, note: bytes) -> None:
        """A witness lets a cosignature leave: one root at one size, and sizes never fall.

        Noted and raised later: this is called amid the ledger's work, whose outermost loop survives any fault.
        """
        signed = SignedNote(parse_note(note).text, lines)
        self._note(cosignature_time(signed, witness) is not None, f"{witness.name} signed with another key")
        checkpoint = parse_checkpoint(signed.text)
        seen = self.cosigned[witness.name]
        for size, digest in seen:
            same = size != checkpoint.size or digest == checkpoint.root
            self._note(same, f"{witness.name}: two roots at {size}")
        self._note(not seen or seen[-1][0] <= checkpoint.size, f"{witness.name} went back to {checkpoint.size}")
        seen.append((checkpoint.size, checkpoint.root))

    def saw_checkpoint(self, note: bytes):
        """A reader gets a checkpoint."""
        verified = examine_checkpoint(note, log=self._log, witnesses=self._witnesses, quorum=self._quorum).require()
        known = self.roots.setdefault(verified.size, verified.root)
        require(known == verified.root, f"readers were shown two roots at {verified.size}")
        return verified

    def saw_append(self, entry: bytes, appended) -> None:
        """An entry is acknowledged."""
        self.saw_batch([entry], [appended.index], [appended.path], appended.checkpoint)

    def saw_batch(
        self, entries: Sequence[bytes], indices: Sequence[int], paths: Sequence[Sequence[bytes]], note: bytes
    ) -> None:
        """Entries are acknowledged together."""
        checkpoint = self.saw_checkpoint(note)
        for entry, index, path in zip(entries, indices, paths, strict=True):
            check_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root)
            known = self.indices.setdefault(entry, index)
            require(known == index, f"entry {known} was acknowledged again as {index}")

    def saw_blob(self, digest: bytes, data: bytes) -> None:
        """A blob is acknowledged."""
        require(digest == hashlib.sha256(data).digest(), "a blob was acknowledged under another digest")
        self.blobs[digest] = data

    def forget_blobs_beyond(self, stored: Callable[[bytes], bytes | None]) -> None:
        """The disk was exchanged: blobs that no entry shown names may be gone with it."""
        self.blobs = {digest: data for digest, data in self.blobs.items() if stored(digest) is not None}

    def saw_instance(self, key: bytes, workload: bytes) -> None:
        """A KMS begins a life, of this version of the code."""
        require(key not in self.instances, "a KMS that restarted has the keys of its life before")
        self.instances[key] = workload

    def saw_handover(self, entry: bytes) -> None:
        """Keys went from one instance to another."""
        self._handed.add(entry)

    def saw_release(self, reply: ReleaseReply, wrap_key: KemPrivateKey) -> None:
        """A transport key is out: its entry must be in a checkpoint that a quorum remembers."""
        checkpoint = self.saw_checkpoint(reply.checkpoint)
        check_inclusion(leaf_hash(reply.entry), reply.index, checkpoint.size, reply.path, checkpoint.root)
        aware = [name for name, seen in self.cosigned.items() if any(size >= checkpoint.size for size, _ in seen)]
        require(len(aware) >= self._quorum, f"a key is out on the word of {len(aware)} witnesses")
        secret = unwrap(wrap_key, reply.wrapped, info=WRAP_INFO, aad=entry_digest(reply.entry))
        public = KemPrivateKey.from_bytes(X_WING, SecretBytes(secret.reveal())).public
        epoch = open_statement(reply.epoch_entry)
        named = key_config.decode(parse_epoch(epoch.payload).key_config).public
        require(public == named, "the key that is out is of another epoch")
        self._used.append(reply.epoch_entry)
        self._released.append((reply.index, reply.entry))

    def saw_bundle(self, bundle: KeyBundle) -> None:
        """A client gets a bundle: at one checkpoint, as witnesses dated it, no two name different epochs."""
        checkpoint, number = self.saw_checkpoint(bundle.checkpoint), head_of(bundle).epoch
        known = self._in_use.setdefault((checkpoint.size, checkpoint.root, checkpoint.cosigned_at), number)
        require(known == number, f"epochs {known} and {number} are in use at one checkpoint")
        self._used += [shown.entry for shown in bundle.epochs]

    def saw_log(self, entries: Sequence[bytes]) -> None:
        """An auditor reads the whole log: nothing acknowledged is missing, and every root shown is one of it."""
        self.hold()
        require(len(entries) >= self.newest, f"{self.newest} entries were shown, the log has {len(entries)}")
        for entry, index in self.indices.items():
            require(entries[index] == entry, f"the acknowledged entry {index} is missing")
        leaves = [leaf_hash(entry) for entry in entries]
        for size, digest in self.roots.items():
            require(root(leaves[:size]) == digest, f"the root shown at {size} is not the log's")
        for index, entry in self._released:
            require(entries[index] == entry, f"a key is out and its entry {index} is missing")
        self._hold_epochs(entries)
        self._hold_versions(entries)

    def saw_proof(self, old: int, new: int, path: Sequence[bytes]) -> None:
        """An auditor holds two published checkpoints against each other."""
        check_consistency(old, self.roots[old], new, self.roots[new], path)

    def pairs(self) -> list[tuple[int, int]]:
        """The sizes of published checkpoints that stand beside each other: proofs between them make a chain."""
        return list(pairwise(sorted(size for size in self.roots if size)))

    def hold(self) -> None:
        """Raise what was noted."""
        require(not self._violation, self._violation)

    def _note(self, true: bool, sentence: str) -> None:
        if not true:
            self._violation = self._violation or sentence

    def _hold_epochs(self, entries: Sequence[bytes]) -> None:
        """Epochs name the one before, no two have one key, and no other's key was ever used."""
        chain: list[bytes] = []
        for entry in entries:
            statement = open_statement(entry)
            if statement.kind != "epoch":
                continue
            epoch = parse_epoch(statement.payload)
            if (epoch.number, epoch.previous) == (len(chain) + 1, entry_digest(chain[-1]) if chain else b""):
                chain.append(entry)
        keys = {parse_epoch(open_statement(entry).payload).key_config for entry in chain}
        require(len(keys) == len(chain), "two epochs have one key")
        for entry in self._used:
            require(entry in chain, "a key was used whose epoch is not in the chain of the log")
        self._ends = {entry_digest(entry): parse_epoch(open_statement(entry).payload).stale_until for entry in chain}
        self._hold_holders(entries, chain)

    def _hold_holders(self, entries: Sequence[bytes], chain: Sequence[bytes]) -> None:
        """A key goes from who made it to instances that are in the log, and to nodes only from who may have it."""
        instances: set[bytes] = set()
        holders = {entry_digest(entry): set(open_statement(entry).signers) for entry in chain}
        for entry in entries:
            statement = open_statement(entry)
            (signer,) = statement.signers if len(statement.signers) == 1 else (b"",)
            if statement.kind == "kms":
                instances.add(signer)
            elif statement.kind == "handover":
                handover = parse_handover(statement.payload)
                require(handover.to in instances, "a key was handed to an instance that is not in the log")
                for secret in handover.secrets:
                    known = holders.get(secret.name, set())
                    require(signer in known, "a key was handed on by an instance that has it from nobody")
                    known.add(handover.to)
            elif statement.kind == "release":
                epoch = parse_release(statement.payload).epoch
                require(signer in holders.get(epoch, set()), "a KMS released a key that it has from nobody")

    def _hold_versions(self, entries: Sequence[bytes]) -> None:
        """Keys go to, and are released by, instances that the constitution in force there names, and no retired one."""
        released = {entry for _, entry in self._released}
        current = parse_constitution(open_statement(entries[0]).payload) if entries else None
        shown: set[bytes] = set()  # instances that showed themselves under it
        for entry in entries[1:]:
            statement = open_statement(entry)
            assert current is not None
            if statement.kind == "constitution":
                successor = parse_constitution(statement.payload)
                if successor.previous == current.digest():  # all amenders sign each here, and it has no notice
                    current, shown = successor, set()
            elif statement.kind == "kms":
                (signer,) = statement.signers
                if self.instances[signer] in current.kms.workloads:
                    shown.add(signer)
            elif entry in self._handed:
                to = parse_handover(statement.payload).to
                require(to in shown, "a key was handed to a version that the constitution in force does not name")
            elif entry in released:
                require(statement.signers <= shown, "a key was released by a version that is retired")

    def hold_keys(self, held: Iterable[bytes], *, followed_at: int) -> None:
        """No key that an instance holds is past its stale window by the clock with which it followed the log."""
        for digest in held:
            require(self._ends.get(digest, followed_at + 1) > followed_at, "a key outlived its stale window")
