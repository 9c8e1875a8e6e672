"""Every step before an answer is shown: each row breaks one link and nothing else."""

from collections.abc import Callable
from hashlib import sha256

import msgspec
import pytest

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.multipart import parse_multipart
from cloister.formats.response_receipt import RECEIPT_TYPE, parse_response_receipt
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.testing.world import NOON, Node, World
from cloister.trust.bundle import examine_bundle
from cloister.trust.memory import first_contact
from cloister.trust.receipt import RECEIPT_STEPS, Exchange, ReceiptRefused, examine_receipt

replace = msgspec.structs.replace
PATH = "/v1/audio/transcriptions"
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\naudio\r\n--b--\r\n'
REQUEST = summarise("POST", PATH, "multipart/form-data; boundary=b", FORM)
ANSWER = b'{"text": "hello"}'
SALT = bytes(range(32))


class Case:
    """A gateway's receipt for an exchange, and the bundle that the client examined; a row changes one thing."""

    def __init__(self):
        self.world = World()
        self.key = self.world.gateway.sign
        self.contract = self.world.contract.digest()
        self.epoch = entry_digest(self.world.log.entries[self.world.epoch_entries[0]])
        self.answered = Answered(REQUEST, 200, sha256(ANSWER).digest(), SALT, NOON)
        self.exchange = Exchange(REQUEST, 200, sha256(ANSWER).digest(), SALT)
        self.altered = None

    def core(self):
        core = sign_receipt(self.key, self.answered, contract=self.contract, epoch=self.epoch)
        return self.altered(core) if self.altered else core

    def examine(self):
        world = self.world
        memory = first_contact(world.constitution.digest())
        bundle = examine_bundle(world.bundle(), world.policy(), memory, at=NOON).require()
        return examine_receipt(self.core(), self.exchange, bundle)


BREAKS: dict[str, list[Callable[[Case], None]]] = {}


def breaks(check):
    def put(row):
        BREAKS.setdefault(check, []).append(row)
        return row

    return put


@breaks("receipt.key")
def a_receipt_by_a_key_nobody_certified(case):
    case.key = SigningKey.generate()


@breaks("receipt.key")
def a_receipt_that_does_not_parse(case):
    case.altered = lambda _core: b"noise"


@breaks("receipt.signature")
def a_receipt_altered(case):
    case.altered = lambda core: core[:-1] + bytes([core[-1] ^ 1])


@breaks("receipt.signature")
def another_statement_of_the_gateways_in_place_of_a_receipt(case):
    case.altered = lambda _core: sign1(case.key, b"noise", content_type="text/plain")


@breaks("receipt.signature")
def a_signed_receipt_that_does_not_parse(case):
    case.altered = lambda _core: sign1(case.key, b"noise", content_type=RECEIPT_TYPE)


@breaks("receipt.contract")
def an_answer_of_another_service(case):
    case.contract = bytes(32)


@breaks("receipt.epoch")
def an_epoch_that_the_bundle_does_not_show(case):
    case.epoch = bytes(32)


@breaks("receipt.epoch")
def an_epoch_whose_key_this_gateway_was_not_given(case):
    """Another gateway was given the second epoch's key; this one answers for it."""
    world = case.world
    previous = entry_digest(world.log.entries[world.epoch_entries[0]])
    world.epoch = replace(world.epoch, number=2, previous=previous)
    world.epoch_entries.append(world.log.append(sign_statement("epoch", world.epoch, (world.kms.sign,))))
    case.epoch = entry_digest(world.log.entries[world.epoch_entries[1]])
    other = world.make_release(epoch=case.epoch, node=Node().keys)
    world.release_entries.append(world.log.append(sign_statement("release", other, (world.kms.sign,))))


@breaks("receipt.time")
def a_receipt_from_after_the_keys_end(case):
    case.answered = replace_answer(case, at=case.world.epoch.stale_until + 60)


@breaks("receipt.time")
def a_receipt_later_than_the_bundle_can_speak_for(case):
    case.answered = replace_answer(case, at=NOON + 720)


@breaks("receipt.time")
def a_receipt_from_before_the_key(case):
    case.answered = replace_answer(case, at=case.world.epoch.not_before - 120)


@breaks("receipt.time")
def a_receipt_with_a_finer_time_than_a_minute(case):
    case.altered = lambda core: resigned(case, core, at=NOON - NOON % 60 + 1)


@breaks("receipt.request")
def a_receipt_of_another_request(case):
    case.answered = replace_answer(case, request=summarise("POST", PATH, "text/plain", b"other"))


@breaks("receipt.request")
def a_receipt_of_another_path(case):
    case.answered = replace_answer(case, request=replace(REQUEST, path="/v1/audio/translations"))


@breaks("receipt.response")
def a_wrong_answer(case):
    case.answered = replace_answer(case, body_digest=sha256(b'{"text": "hullo"}').digest())


@breaks("receipt.response")
def a_wrong_status(case):
    case.answered = replace_answer(case, status=201)


def replace_answer(case, **changes):
    fields = {name: getattr(case.answered, name) for name in Answered.__slots__}
    return Answered(**(fields | changes))


def resigned(case, core, **changes):
    receipt = parse_response_receipt(CoseSign1.parse(core).payload or b"")
    return sign1(case.key, canonical.encode(replace(receipt, **changes)), content_type=RECEIPT_TYPE)


ROWS = [
    pytest.param(check, row, id=f"{check}-{row.__name__}", marks=pytest.mark.breaks(check))
    for check, rows in BREAKS.items()
    for row in rows
]


def test_the_receipt_of_this_exchange_is_believed():
    case = Case()
    verified = case.examine().require()
    assert verified.gateway == case.world.gateway.sign.public
    assert (verified.epoch.number, verified.receipt.at) == (1, NOON - NOON % 60)


@pytest.mark.parametrize(("check", "row"), ROWS)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    case = Case()
    row(case)
    examination = case.examine()
    assert examination.failed == [check]
    assert all(step.detail for step in examination.steps if step.id == check), "a shortfall says what is wrong"
    with pytest.raises(ReceiptRefused) as refusal:
        examination.require()
    assert refusal.value.check == check


def test_every_step_of_a_receipt_has_a_row():
    assert set(BREAKS) == set(RECEIPT_STEPS)


def test_a_request_is_summarised_part_by_part():
    assert [part.name for part in REQUEST.parts] == ["file"]
    assert len(parse_multipart(FORM, "multipart/form-data; boundary=b")) == 1
    assert summarise("POST", PATH, "application/json", b"{}").parts[0].name == ""
    assert summarise("GET", "/v1/models", "", b"").parts == ()


def test_the_salt_hides_what_was_asked_and_answered():
    assert REQUEST.digest(SALT) != REQUEST.digest(bytes(32))
