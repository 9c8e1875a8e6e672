"""What a relying party remembers of vendors' endorsements, so that nothing older is taken later.

A revocation list, or TCB info, is in date for weeks after a newer one said more: whoever chooses which of them travels
beside evidence could go on showing the older. Examinations refuse what is older than what is remembered, and say what
they met; `merged` adds that to the memory, in any order. One memory is of one set of pinned roots: a made-up vendor's
numbers would outlaw the real one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

import msgspec

from cloister.attest.certificates import day
from cloister.formats.canonical import Count, Seconds
from cloister.formats.snp_tcb import Product


class SeenList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest revocation list of one root that was met."""

    number: Count  # CRL number (RFC 5280 section 5.2.3); 0 where lists have none
    this_update: Seconds  # thisUpdate, since 1970


class SeenCollateral(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest of Intel's collateral that was met for one FMSPC and TEE."""

    evaluation_data_number: Count  # tcbEvaluationDataNumber: rises with every TCB recovery
    tcb_info: Seconds  # issueDate, since 1970
    qe_identity: Seconds  # issueDate
    pck_crl: Seconds  # thisUpdate
    root_crl: Seconds  # thisUpdate


class SeenEndorsements(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all platforms; what is not named was never met."""

    amd: Mapping[Product, SeenList]  # lists of each product's root
    intel: Mapping[str, SeenCollateral]  # by `intel_kind`

    def merged(self, other: SeenEndorsements) -> SeenEndorsements:
        """The newest of both, in each part by itself."""
        amd = {**self.amd, **{one: _newest(found, self.amd.get(one, found)) for one, found in other.amd.items()}}
        intel = {
            **self.intel,
            **{one: _newest(found, self.intel.get(one, found)) for one, found in other.intel.items()},
        }
        return SeenEndorsements(amd, intel)


SEEN_NOTHING: Final = SeenEndorsements({}, {})  # for a caller that keeps no memory, and says so
_Part = TypeVar("_Part", SeenList, SeenCollateral)
_NO_LIST: Final = SeenList(0, 0)
_NO_COLLATERAL: Final = SeenCollateral(0, 0, 0, 0, 0)
_WORDS: Final = {
    "evaluation_data_number": "the TCB evaluation data number",
    "tcb_info": "TCB info",
    "qe_identity": "the QE identity",
    "pck_crl": "the revocation list of the PCK's CA",
    "root_crl": "the revocation list of the root",
}


def intel_kind(tee: Literal["SGX", "TDX"], fmspc: bytes) -> str:
    """The kind of platform that collateral is of: `TDX 90c06f000000`."""
    return f"{tee} {fmspc.hex()}"


def older_list(found: SeenList, seen: SeenEndorsements, product: Product) -> str:
    """In which way AMD's list is older than one that was met; empty where it is not."""
    known = seen.amd.get(product, _NO_LIST)
    if found.number < known.number:
        return f"its number is {found.number}, and {known.number} was seen before"
    if found.this_update < known.this_update:
        return f"it is of {day(found.this_update)}, and one of {day(known.this_update)} was seen before"
    return ""


def older_collateral(found: SeenCollateral, seen: SeenEndorsements, kind: str) -> str:
    """Which parts of Intel's collateral are older than what was met, as people name them; empty where none is."""
    known = seen.intel.get(kind, _NO_COLLATERAL)
    return ", ".join(words for name, words in _WORDS.items() if getattr(found, name) < getattr(known, name))


def _newest(one: _Part, other: _Part) -> _Part:
    """The higher of each number."""
    return type(one)(*map(max, msgspec.structs.astuple(one), msgspec.structs.astuple(other)))
