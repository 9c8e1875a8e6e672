"""The witnesses that a ledger's settings name."""

from __future__ import annotations

from cloister.errors import UsageError
from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, parse_vkey
from cloister.formats.constitution import Witness
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress


def named_witnesses(settings: LedgerSettings) -> list[tuple[Witness, str]]:
    """Each with the URL at which it is asked.

    Raises:
        MalformedInput: a verifier key is none.
        UsageError: two have one name or key, or so many cannot make the quorum.
    """
    found = [_witness(address) for address in settings.witnesses]
    names, keys = {witness.name for witness, _ in found}, {witness.key for witness, _ in found}
    if len(names) != len(found) or len(keys) != len(found):
        raise UsageError("each witness has its own name and its own key")
    if not 1 <= settings.quorum <= len(found):
        raise UsageError(f"a quorum of {settings.quorum} out of {len(found)} witnesses: it is at least 1, and no more")
    return found


def _witness(address: WitnessAddress) -> tuple[Witness, str]:
    key = parse_vkey(address.vkey)
    if key.kind != COSIGNATURE_V1:
        raise UsageError(f"the verifier key of {key.name} is not a witness's Ed25519 key (type 04)")
    if not address.ml_dsa_vkey:
        return Witness(name=key.name, key=key.public), address.url
    second = parse_vkey(address.ml_dsa_vkey)
    if (second.kind, second.name) != (COSIGNATURE_ML_DSA, key.name):
        raise UsageError(f"ml_dsa_vkey of {key.name} is not its ML-DSA-44 key (type 06) under the same name")
    return Witness(name=key.name, key=key.public, ml_dsa=second.public), address.url
