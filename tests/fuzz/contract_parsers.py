"""What the parties, the KMS, its nodes and clients sign and read."""

from __future__ import annotations

from tests.doubles.custody_records import SAMPLES
from tests.doubles.identity_records import IDENTITY_SAMPLES, NAME, read_any_authority, sample_authority, sample_identity
from tests.fuzz.target import Targets

from cloister.contract.identity_certificate import read_identity
from cloister.formats import canonical, key_config
from cloister.formats.checkpoint import (
    parse_checkpoint,
    parse_note,
)
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.evidence import parse_evidence, parse_software_report
from cloister.formats.governance import Vote, WitnessedTime, parse_vote, parse_witnessed_time
from cloister.formats.handover import (
    HandedOver,
    HandedSecret,
    Handover,
    NamedSecret,
    parse_handed_over,
    parse_handover,
)
from cloister.formats.key_bundle import parse_key_bundle, parse_state_head
from cloister.formats.release import parse_epoch, parse_kms_instance, parse_release
from cloister.formats.response_receipt import parse_response_receipt
from cloister.formats.spiffe import SpiffeName
from cloister.formats.statement import parse_statement
from cloister.formats.trust_policy import format_trust_policy, parse_trust_policy
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.testing.world import NOON, World


def contract_targets() -> Targets:
    """Bundles, statements, evidence, receipts, keys, identities."""
    world = World()
    bundle = world.bundle()
    logged = [*bundle.constitutions, *bundle.contracts, *bundle.epochs, *bundle.releases]
    payloads = {entry.index: parse_statement(entry.entry).payload for entry in logged}
    instance = parse_statement(world.log.entries[world.kms_entry]).payload
    shown = parse_evidence(bundle.evidence)
    answered = Answered(summarise("POST", "/v1/a", "text/plain", b"body"), 200, bytes(32), bytes(32), NOON)
    core = sign_receipt(world.gateway.sign, answered, contract=bytes(32), epoch=bytes(32))
    named = NamedSecret(kind="epoch", name=bytes(32))
    handover = Handover(
        constitution=bytes(32), to=bytes(32), secrets=(named,), evidence=bytes(32), checks=("evidence.role",), at=NOON
    )
    handed = HandedOver(secrets=(HandedSecret(kind="epoch", name=bytes(32), secret=bytes(32)),))
    return {
        "key_bundle": (parse_key_bundle, [canonical.encode(bundle)]),
        "statement": (parse_statement, [entry.entry for entry in logged]),
        "constitution": (parse_constitution, [payloads[0]]),
        "contract": (parse_contract, [payloads[1]]),
        "kms": (parse_kms_instance, [instance]),
        "epoch": (parse_epoch, [payloads[3]]),
        "release": (parse_release, [payloads[4]]),
        "vote": (parse_vote, [canonical.encode(Vote(proposal=bytes(32), choice="veto"))]),
        "time": (parse_witnessed_time, [canonical.encode(WitnessedTime(note=bundle.checkpoint))]),
        "handover": (parse_handover, [canonical.encode(handover)]),
        "handed_over": (parse_handed_over, [canonical.encode(handed)]),
        "evidence": (parse_evidence, [bundle.evidence]),
        "software_report": (parse_software_report, [CoseSign1.parse(shown.report).payload or b""]),
        "state_head": (parse_state_head, [CoseSign1.parse(bundle.head).payload or b""]),
        "response_receipt": (parse_response_receipt, [CoseSign1.parse(core).payload or b""]),
        "cose_sign1": (CoseSign1.parse, [bundle.head, shown.report, core]),
        "note": (lambda data: parse_checkpoint(parse_note(data).text), [bundle.checkpoint]),
        "key_config": (key_config.decode_list, [key_config.encode_list([key_config.decode(world.epoch.key_config)])]),
        **{
            parse.__name__: (parse, [canonical.encode(record)])
            for parse, record in (SAMPLES | IDENTITY_SAMPLES).items()
        },
        "authority": (read_any_authority, [sample_authority()]),
        "identity": (read_identity, [sample_identity()]),
        "spiffe_name": (lambda data: SpiffeName.parse(data.decode("latin-1")), [str(NAME).encode()]),
        "trust_policy": (parse_trust_policy, [format_trust_policy(world.policy(), comment="").encode()]),
    }
