"""What a store has seen, as examinations of evidence take it: so that evidence brings nothing older along either."""

from __future__ import annotations

from cloister.attest.endorsement_words import Mark
from cloister.attest.seen import SeenCollateral, SeenEndorsements, SeenList
from cloister.endorsements.store import EndorsementStore, Stored
from cloister.formats.endorsement_bundle import Kind
from cloister.formats.snp_tcb import Product

_NOTHING: Mark = (0, 0)


def seen_in(store: EndorsementStore) -> SeenEndorsements:
    """The newest of everything in `store`, in date or not; damaged files are passed over.

    Raises:
        Unavailable: a file cannot be read.
    """
    identities, lists = _marks(store, "intel-qe-identity"), _marks(store, "intel-pck-revocations")
    root = _marks(store, "intel-root-revocations").get("root", _NOTHING)
    # A kind of platform does not say which CA certified its machines: all have to reach the older of the two lists.
    platform_list = min((mark[1] for mark in lists.values()), default=0)
    intel = {}
    for subject, (number, issued) in _marks(store, "intel-tcb-info").items():
        identity = identities.get(subject.partition(" ")[0], _NOTHING)
        intel[subject] = SeenCollateral(
            min(number, identity[0]) if identity[0] else number, issued, identity[1], platform_list, root[1]
        )
    amd = {Product(subject): SeenList(*mark) for subject, mark in _marks(store, "amd-revocations").items()}
    return SeenEndorsements(amd, intel)


def _marks(store: EndorsementStore, kind: Kind) -> dict[str, Mark]:
    return {one.described.subject: one.described.mark for one in store.of_kind(kind) if isinstance(one, Stored)}
