"""Every step before a gateway uses a key: each row breaks one link and nothing else."""

from collections.abc import Callable

import msgspec
import pytest

from cloister.crypto.hpke import X_WING, KemPrivateKey, wrap
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.checkpoint import SignedNote, parse_note
from cloister.formats.release import WRAP_INFO, ReleaseReply, parse_release_reply
from cloister.formats.statement import Kind
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import NOON, Node, World
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact
from cloister.trust.release_reply import REPLY_STEPS, AskedFor, examine_reply
from cloister.trust.reply import ReplyRefused

replace = msgspec.structs.replace


class Case:
    """A valid reply to the gateway of a valid world; a row changes one thing."""

    def __init__(self):
        self.world = World()
        self.changes = {}  # to the release's record
        self.kind: Kind = "release"
        self.signer = self.world.kms.sign
        self.secret = self.world.transport.secret.reveal()
        self.info = WRAP_INFO
        self.node = self.world.gateway
        self.log = self.world.log
        self.cosigners, self.origin = None, None
        self.reply_changes = {}

    def reply(self) -> ReleaseReply:
        world = self.world
        record = world.make_release(**self.changes)
        entry = sign_statement(self.kind, record, (self.signer,))
        index = self.log.append(entry)
        logged = self.log.logged([index])[0]
        wrapped = wrap(world.gateway.keys.wrap, self.secret, info=self.info, aad=entry_digest(entry))
        reply = ReleaseReply(
            entry=entry,
            index=index,
            path=logged.path,
            checkpoint=self.log.checkpoint(at=NOON, origin=self.origin, cosigners=self.cosigners),
            epoch_entry=world.log.entries[world.epoch_entries[0]],
            wrapped=wrapped,
        )
        return replace(reply, **self.reply_changes)

    def examine(self):
        world = self.world
        memory = first_contact(world.constitution.digest())
        bundle = examine_bundle(world.bundle(), world.policy(), memory, at=NOON).require()
        asked = AskedFor(bundle.keys.active, self.node.keys, self.node.wrap)
        return examine_reply(parse_release_reply(canonical.encode(self.reply())), asked, bundle)


BREAKS: dict[str, list[Callable[[Case], None]]] = {}


def breaks(check):
    def put(row):
        BREAKS.setdefault(check, []).append(row)
        return row

    return put


@breaks("reply.epoch")
def another_epochs_entry_beside_the_key(case):
    world = case.world
    case.reply_changes["epoch_entry"] = sign_statement("epoch", world.make_epoch(number=2), (world.kms.sign,))


@breaks("reply.signature")
def a_release_by_someone_else(case):
    case.signer = SigningKey.generate()


@breaks("reply.signature")
def a_statement_of_another_kind(case):
    case.kind = "revocation"


@breaks("reply.signature")
def noise_for_an_entry(case):
    case.kind = "release"
    entry = b"noise"
    index = case.log.append(entry)
    case.reply_changes |= {"entry": entry, "index": index}
    secret, public = case.secret, case.world.gateway.keys.wrap
    case.reply_changes["wrapped"] = wrap(public, secret, info=WRAP_INFO, aad=entry_digest(entry))


@breaks("reply.contract")
def another_contract(case):
    case.changes["contract"] = b"?" * 32


@breaks("reply.contract")
def another_role(case):
    case.changes["role"] = "kms"


@breaks("reply.contract")
def a_release_of_another_epoch(case):
    case.changes["epoch"] = b"?" * 32


@breaks("reply.node")
def a_release_to_another_node(case):
    case.changes["node"] = Node().keys


@breaks("checkpoint.origin")
def a_checkpoint_of_another_log(case):
    case.origin = "elsewhere.test/log"


@breaks("checkpoint.signature")
def a_checkpoint_that_the_log_did_not_sign(case):
    case.reply_changes["checkpoint"] = _without_log_signature(case)


@breaks("checkpoint.witnesses")
def a_checkpoint_short_of_the_quorum(case):
    case.cosigners = 1


@breaks("reply.inclusion")
def an_index_where_something_else_stands(case):
    case.reply_changes["index"] = 0


@breaks("reply.key")
def a_key_that_no_client_encrypts_to(case):
    case.secret = KemPrivateKey.generate(X_WING).secret.reveal()


@breaks("reply.key")
def a_key_wrapped_for_another_purpose(case):
    case.info = b"something else"


@breaks("reply.key")
def a_key_of_the_wrong_size(case):
    case.secret = b"short"


def _without_log_signature(case: Case) -> bytes:
    """The note that the case will have, less the log's own line."""
    world = case.world
    entry = sign_statement("release", world.make_release(), (world.kms.sign,))
    case.log.append(entry)
    note = parse_note(case.log.checkpoint(at=NOON))
    case.log.entries.pop()
    return SignedNote(note.text, note.signatures[1:]).encode()


ROWS = [
    pytest.param(check, row, id=f"{check}-{row.__name__}", marks=pytest.mark.breaks(check))
    for check, rows in BREAKS.items()
    for row in rows
]


def test_a_valid_reply_passes_every_step():
    case = Case()
    examination = case.examine()
    assert examination.passed == list(REPLY_STEPS)
    assert examination.require().private.public == case.world.transport.public
    assert examination.require().epoch.number == 1


def test_an_entry_over_the_cap_fails_by_name():
    case = Case()
    case.reply_changes["entry"] = bytes(65_536)
    with pytest.raises(ReplyRefused, match=r"reply\.signature"):
        case.examine().require()


@pytest.mark.parametrize(("check", "row"), ROWS)
def test_each_broken_link_fails_its_own_step_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    with pytest.raises(ReplyRefused, match=check):
        examination.require()


def test_every_step_has_a_row():
    assert set(BREAKS) == set(REPLY_STEPS)
