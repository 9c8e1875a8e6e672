"""Where endorsements for a piece of evidence come from: files, a folder of them, a bundle, or a store; no network."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from cloister.attest.endorsed import Endorsed
from cloister.cli.endorsement_files import MAXIMUM_ENDORSEMENT, Found, chosen, read_folder
from cloister.cli.evidence_file import read_evidence
from cloister.cli.evidence_read import ReadEvidence
from cloister.endorsements.bare_evidence import BareEvidence
from cloister.endorsements.completion import complete
from cloister.endorsements.store import EndorsementStore
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import MAXIMUM_BUNDLE, EndorsementBundle, parse_bundle
from cloister.formats.hcl_report import parse_hcl_report

_STORED = "*/amd-key"  # what a store's folder has in it


def read_endorsements(
    path: Path | None, read: ReadEvidence, *, roots: VendorRoots, at: int
) -> tuple[Endorsed, tuple[str, ...]]:
    """What vendors say of this evidence, and what a person should know about where it came from.

    Raises:
        UsageError: `path` cannot be read.
    """
    found = Found()
    for at_least, data in enumerate(read.brought):
        found.take(data, f"what came along, part {at_least + 1}")
    if path is None:
        return _chosen(found, read)
    if path.is_dir() and not any(path.glob(_STORED)):
        _add(found, read_folder(path))
        return _chosen(found, read)
    if path.is_dir():
        store = EndorsementStore(path, roots, make=False)
        if not store.there:
            found.notes.append(
                f"the store {path} has nothing under the policy's roots: all of it was taken under other"
            )
        _complete(found, store, read, at)
        return _chosen(found, read)
    data = read_evidence(path, limit=MAXIMUM_BUNDLE)
    try:
        bundle = parse_bundle(data)
    except (MalformedInput, TooLarge):
        found.take(data if len(data) <= MAXIMUM_ENDORSEMENT else b"", str(path), whole=True)
        return _chosen(found, read)
    _from_bundle(found, bundle, read, (roots, at))
    return _chosen(found, read)


def _chosen(found: Found, read: ReadEvidence) -> tuple[Endorsed, tuple[str, ...]]:
    return chosen(found, read.evidence), tuple(found.notes)


def _add(found: Found, more: Found) -> None:
    for name in ("certificates", "lists", "collateral", "documents", "manifests", "answers", "notes"):
        getattr(found, name).extend(getattr(more, name))


def _from_bundle(found: Found, bundle: EndorsementBundle, read: ReadEvidence, held: tuple[VendorRoots, int]) -> None:
    """As if it were imported: into a store of its own, which takes what is its vendor's and in date."""
    roots, at = held
    with tempfile.TemporaryDirectory(prefix="cloister-") as folder:
        store = EndorsementStore(Path(folder), roots)
        refused = sum(bool(store.take(kept, at=at).failed) for kept in bundle.kept)
        if refused:
            number = f"{refused} of the bundle's {len(bundle.kept)}"
            found.notes.append(f"{number} endorsements are not in date, or no vendor's")
        _complete(found, store, read, at)


def _complete(found: Found, store: EndorsementStore, read: ReadEvidence, at: int) -> None:
    evidence = read.evidence
    bare = BareEvidence(evidence.platform, evidence.report, gpu=evidence.gpus)
    if evidence.platform == "hcl-snp":
        bare = BareEvidence("snp", parse_hcl_report(evidence.report).hardware)
    try:
        completed = asyncio.run(complete(bare, store, None, at=at, asker="here"))
    except (Refused, MalformedInput, TooLarge) as error:
        found.notes.append(f"no endorsements were looked up, since the evidence itself does not hold: {error}")
        return
    for one in completed.endorsements:
        found.take(one.data, one.kind)
    found.notes += [str(one) for one in completed.missing]
