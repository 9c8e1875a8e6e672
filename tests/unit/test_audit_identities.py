"""An audit of authorities and identities: nothing is found where they came about honestly, and forgeries are named."""

from typing import Any

import msgspec
import pytest
from tests.doubles.honest_ledger import HonestLedger
from tests.doubles.identity_system import NamedNode

from cloister.contract.audit.payloads import read_entry
from cloister.crypto.p256 import P256Key
from cloister.crypto.signing import SigningKey
from cloister.ledger.statements import open_statement, sign_statement

replace = msgspec.structs.replace


def said(entry) -> Any:
    return read_entry(entry)


class Named(HonestLedger):
    """A gateway has got an identity, and the KMS one of its own."""

    async def issue(self):
        kms = await self.instance("kms")
        self.node = NamedNode(self, "gateway")
        await self.node.ask(kms)
        standing = kms._standing
        shown = standing.instance.evidence(standing.history.checkpoint, standing.state.constitution)
        await kms._identities.issue_to_itself(self.line, P256Key.generate(), shown)
        return kms

    def at(self, kind, number=0):
        return [index for index in range(len(self.entries)) if self.kind(index) == kind][number]

    def changed(self, kind, *, by=None, number=0, **changes):
        """Put another entry in the place of one; where it stands."""
        index = self.at(kind, number)
        record = said(self.entries[index])
        signer = by or self.instances["kms"]
        self.entries[index] = sign_statement(kind, replace(record, **changes), (signer,))
        return index


@pytest.fixture
async def ledger():
    named = Named()
    await named.issue()
    return named


async def test_nothing_is_found_where_identities_were_issued_honestly(ledger):
    audited = ledger.audit()
    assert audited.findings == ()
    told = {entry.kind: entry.says for entry in audited.entries}
    assert "authority 1 of contract" in told["authority"]
    assert "spiffe://" in told["identity"]


def evidence_of_another(ledger):
    """Good evidence of one node, and the certificate for another."""
    other = NamedNode(ledger, "gateway")
    record = said(ledger.entries[ledger.at("identity")])
    request = other.request(bytes(32))
    name = str(record.name).replace(record.node.thumbprint().hex(), other.secrets.public.thumbprint().hex())
    return ledger.changed("identity", node=other.secrets.public, name=name, key=request.key, proof=request.proof)


def not_kept(ledger):
    index = ledger.at("identity")
    del ledger.ledger.blobs[said(ledger.entries[index]).evidence]
    return index


def of_a_key_named_for_another_challenge(ledger):
    request = ledger.node.request(bytes(32))
    return ledger.changed("identity", key=request.key, proof=request.proof)


def by_a_stranger(ledger):
    return ledger.changed("identity", by=SigningKey.generate())


def _at(ledger):
    return said(ledger.entries[ledger.at("identity")]).at


FORGERIES = {
    "a certificate for another node": (evidence_of_another, "audit.node", "fault"),
    "a certificate whose evidence is not kept": (not_kept, "audit.kept", "fault"),
    "a certificate for a key that the node named before": (
        of_a_key_named_for_another_challenge,
        "identity.key",
        "fault",
    ),
    "a certificate longer than its KMS is attested to issue": (
        lambda ledger: ledger.changed("identity", not_after=_at(ledger) + 7_200),
        "audit.window",
        "fault",
    ),
    "a certificate with a check left out": (
        lambda ledger: ledger.changed("identity", checks=("identity.key",)),
        "audit.checks",
        "warning",
    ),
    "a certificate under another name": (
        lambda ledger: ledger.changed("identity", name="spiffe://elsewhere/database"),
        "identity.name",
        "fault",
    ),
    "a certificate of a stranger": (by_a_stranger, "kms.signature", "warning"),
    "an authority of a stranger": (
        lambda ledger: ledger.changed("authority", by=SigningKey.generate()),
        "kms.signature",
        "warning",
    ),
    "an authority of another root": (
        lambda ledger: ledger.changed("authority", root=bytes(32)),
        "authority.root",
        "fault",
    ),
    "an authority that is none": (
        lambda ledger: ledger.changed("authority", certificate=b"no certificate"),
        "authority.certificate",
        "fault",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forgery_is_named_where_it_stands(ledger, name):
    forge, check, severity = FORGERIES[name]
    place = forge(ledger)
    found = [(one.severity, one.index, one.check) for one in ledger.audit().findings]
    assert (severity, place, check) in found


async def test_the_kms_shows_itself_before_it_names_itself(ledger):
    """A KMS instance's own identity for a key of another's is void, and that is a fault of its own."""
    own = ledger.at("identity", 1)
    assert said(ledger.entries[own]).role == "kms"
    place = ledger.changed("identity", number=1, node=ledger.node.secrets.public)
    assert ("fault", place, "identity.role") in [
        (one.severity, one.index, one.check) for one in ledger.audit().findings
    ]
    assert open_statement(ledger.entries[place]).kind == "identity"
