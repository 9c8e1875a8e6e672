"""What is asked of witnesses, and which of their answers count."""

import asyncio

import pytest

from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.crypto.ml_dsa import MlDsaKey
from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.checkpoint import Checkpoint, NoteSignature
from cloister.formats.constitution import Witness
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.ledger.cosignatures import WitnessKeys, cosign, cosign_by_all
from cloister.ledger.witness_rules import SizeConflict
from cloister.services.ledger.quorum import Quorum, RolledBack, Unwitnessed

TREE = GrowingTree()
for number in range(5):
    TREE.append(leaf_hash(bytes([number])))
NOTE = sign_checkpoint(Checkpoint("log.test", 5, TREE.root(5)), SigningKey.generate())


class Scripted:
    """A witness that answers as it is told: with lines, an error, a delay, or its honest cosignature."""

    def __init__(self, name, *script):
        self.key = SigningKey.generate()
        self.witness = Witness(name=name, key=self.key.public)
        self.asked = []
        self._script = list(script)

    async def add_checkpoint(self, request):
        self.asked.append(request.old_size)
        answer = self._script.pop(0) if self._script else None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int | float):
            await asyncio.sleep(answer)
        if isinstance(answer, tuple):
            return answer
        return (cosign(NOTE, self.witness.name, self.key, at=100),)


def quorum(*witnesses, needed=1):
    return Quorum([(witness.witness, witness) for witness in witnesses], needed=needed)


async def test_a_witness_is_asked_from_the_size_it_cosigned_last():
    witness = Scripted("a.test", SizeConflict(3))
    asked = quorum(witness)
    await asked.cosign(NOTE, 5, TREE)
    await asked.cosign(NOTE, 5, TREE)
    assert witness.asked == [0, 3, 5]


async def test_a_witness_that_does_not_settle_is_left_alone():
    witness = Scripted("a.test", *(SizeConflict(size) for size in (1, 2, 3, 4)))
    with pytest.raises(Unwitnessed, match="does not settle"):
        await quorum(witness).cosign(NOTE, 5, TREE)
    assert len(witness.asked) == 3


async def test_strangers_lines_are_dropped_and_cosignatures_that_do_not_hold_are_refused():
    stranger = cosign(NOTE, "b.test", SigningKey.generate(), at=100)
    with pytest.raises(Unwitnessed, match="without its cosignature"):
        await quorum(Scripted("a.test", (stranger,))).cosign(NOTE, 5, TREE)
    witness = Scripted("a.test")
    own = cosign(NOTE, "a.test", witness.key, at=100)
    forged = NoteSignature(own.name, own.key_id, own.signature[:8] + bytes(64))
    witness._script = [(forged,)]
    with pytest.raises(Unwitnessed, match="does not hold"):
        await quorum(witness).cosign(NOTE, 5, TREE)
    witness._script = [(stranger, own)]
    assert (await quorum(witness).cosign(NOTE, 5, TREE)).signatures[1:] == (own,)


async def test_a_witness_named_by_two_keys_answers_with_both_or_not_at_all():
    keys = WitnessKeys(SigningKey.generate(), MlDsaKey.generate())
    both = cosign_by_all(NOTE, "a.test", keys, at=100)
    witness = Scripted("a.test", both[:1], both[1:], both)
    witness.witness = keys.named("a.test")
    for _ in range(2):
        with pytest.raises(Unwitnessed, match="by both of its keys"):
            await quorum(witness).cosign(NOTE, 5, TREE)
    assert (await quorum(witness).cosign(NOTE, 5, TREE)).signatures[1:] == both


async def test_a_slow_witness_beyond_the_quorum_is_not_waited_for():
    quick, slow = Scripted("a.test"), Scripted("b.test", 60)
    async with asyncio.timeout(5):
        note = await quorum(slow, quick).cosign(NOTE, 5, TREE)
    assert [line.name for line in note.signatures] == ["log.test", "a.test"]


async def test_witnesses_beyond_the_quorum_that_are_quick_count_too():
    note = await quorum(Scripted("b.test", 0.01), Scripted("a.test")).cosign(NOTE, 5, TREE)
    assert [line.name for line in note.signatures] == ["log.test", "b.test", "a.test"]


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ([5, 5, 5], None),
        ([5, 0, 6], None),  # one of three may lie, and one may have slept
        ([5, 7, 7], None),  # what was stored and not published yet
        ([5, 9, 9], RolledBack),
        ([9, 9, None], RolledBack),
        ([5, None, None], Unwitnessed),
        ([5, 0, None], None),
    ],
)
async def test_before_it_signs_a_majority_must_have_cosigned_no_more_than_is_stored(answers, refused):
    """The stored entries are 7, of which 5 are published; None stands for a witness that is down."""
    errors = {None: Unavailable("down"), 5: None}
    witnesses = [
        Scripted(f"{name}.test", errors.get(size, SizeConflict(size or 0)))
        for name, size in zip("abc", answers, strict=True)
    ]
    for witness in witnesses:
        witness._script *= 2
    asked = quorum(*witnesses, needed=2)
    if refused is None:
        await asked.compare(NOTE, 5, 7)
    else:
        with pytest.raises(Unwitnessed) as raised:
            await asked.compare(NOTE, 5, 7)
        assert type(raised.value) is refused
    assert {size for witness in witnesses for size in witness.asked} == {5}


async def test_with_a_quorum_below_the_majority_the_majority_is_asked_all_the_same():
    witnesses = Scripted("a.test"), Scripted("b.test", SizeConflict(9)), Scripted("c.test", SizeConflict(9))
    with pytest.raises(RolledBack, match=r"[bc]\.test cosigned 9 entries of this log, 7 are here"):
        await quorum(*witnesses, needed=1).compare(NOTE, 5, 7)


async def test_what_a_witness_said_to_know_spares_it_a_question():
    witness = Scripted("a.test", SizeConflict(3))
    asked = quorum(witness)
    await asked.compare(NOTE, 5, 5)
    await asked.cosign(NOTE, 5, TREE)
    assert witness.asked == [5, 3]
