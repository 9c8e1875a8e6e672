"""`cloister endorsements fetch`: what evidence needs of vendors, into the store and into a bundle to carry away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec
from rich.text import Text

from cloister.attest.endorsements import describe
from cloister.cli.chain import console
from cloister.cli.endorsement_options import moment, now, open_store, store_options
from cloister.cli.evidence_file import read_evidence
from cloister.cli.state_folder import StateFolder
from cloister.cli.terminal import printable
from cloister.client.durable import replace_file
from cloister.endorsements.asker_limits import AskerLimits
from cloister.endorsements.bare_evidence import BareEvidence, read_bare_evidence
from cloister.endorsements.bundle import encode_bundle
from cloister.endorsements.completion import Completed, complete
from cloister.endorsements.fetchers import Fetchers, VendorUrls
from cloister.endorsements.needs import EvidenceLike
from cloister.endorsements.store import EndorsementStore
from cloister.errors import MalformedInput, Unavailable
from cloister.formats.endorsements import Endorsement, EndorsementKind
from cloister.formats.evidence import MAXIMUM_COMPLETED

_OWN: Final = VendorUrls()
_MOST_BESIDE: Final = 64
_NO_STRANGERS: Final = AskerLimits(all=1_000_000)  # who asks is who runs the command
EPILOG: Final = """\b
Examples:
  cloister endorsements fetch --for evidence.bin
  cloister endorsements fetch --for node-1.bin --for node-2.bin --out endorsements.bundle
  cloister endorsements fetch --for quote.bin --intel-pcs https://pccs.example:8081

FILE is what cloister evidence collect writes (with the files that it lays beside it) or prints, a SEV-SNP report, a
TDX or SGX quote, Azure's evidence, NVIDIA's envelope, a Nitro document (which needs nothing), or - for standard input.
Vendors are asked only where the evidence's own signature holds; a SEV-SNP report has no key before AMD is asked, so
that any well-formed one asks.

\b
Whom it asks, unless a mirror is named:
  AMD's key distribution service    for certificates of chips, and revocation lists
  Intel's certification service     for TCB information, identities, revocation lists; a PCCS does as well
  NVIDIA's RIM service              for manifests of drivers and firmware
  NVIDIA's OCSP responder           for what was revoked

What a mirror says is believed as little as what a vendor's own service says: all of it has to be signed by the vendor.
The vendor, or the mirror, learns which chips you ask for. VLEKs (of SEV-SNP on AWS) are nowhere to be fetched: they
come with the evidence, as FILE.amd-certificates.1 and so on. Exit code 4 if something is missing; what there is was
kept and written all the same.
"""


class Incomplete(Unavailable):
    """Something that evidence needs was not to be had."""


def url_options(command: click.decorators.FC) -> click.decorators.FC:
    """An option for each vendor's address."""
    for name, shown, what in reversed(
        (
            ("amd_kds_url", "--amd-kds", "AMD's key distribution service"),
            ("intel_pcs_url", "--intel-pcs", "Intel's certification service, or a PCCS"),
            ("intel_root_list_url", "--intel-root-list", "the revocation list of Intel's root"),
            ("nvidia_rim_url", "--nvidia-rims", "NVIDIA's RIM service"),
            ("nvidia_ocsp_url", "--nvidia-ocsp", "NVIDIA's OCSP responder"),
        )
    ):
        text = f"Where {what} is: https, or http on this machine.  [default: {getattr(_OWN, name)}]"
        command = click.option(shown, name, metavar="URL", default=getattr(_OWN, name), help=text)(command)
    return command


@click.command(epilog=EPILOG, short_help="Fetch what evidence needs; write it into a bundle.")
@click.option(
    "--for",
    "paths",
    metavar="FILE",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Evidence that it is for; again for more.",
)
@click.option("--out", metavar="BUNDLE", type=click.Path(path_type=Path, dir_okay=False), help="Write all of it here.")
@store_options
@url_options
@click.option(
    "--ca",
    "ca_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM: who may certify mirrors, beside those whom this machine trusts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found and what is missing as JSON.")
def fetch(
    paths: Sequence[Path],
    out: Path | None,
    store: Path | None,
    policy: Path | None,
    state: StateFolder,
    *,
    as_json: bool,
    **vendors: Any,
) -> None:
    """Fetch what the evidence in each FILE needs of vendors into the store, and write it into a bundle.

    What the store has and is in date is not asked for again.
    """
    opened = open_store(store, policy, state)
    evidence = [(path, _read(path)) for path in paths]
    found = asyncio.run(_complete([one for _, one in evidence], opened, VendorUrls(**vendors)))
    if as_json:
        told = [_told(path, one) for (path, _), one in zip(evidence, found, strict=True)]
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        for (path, _), one in zip(evidence, found, strict=True):
            _show(path, one)
    kept = {one for completed in found for one in completed.kept}
    if out is not None and kept:
        data = encode_bundle(kept)
        replace_file(out, data)
        click.echo(f"wrote {out}: {len(kept)} endorsements, {len(data)} bytes", err=as_json)
    missing = {str(one) for completed in found for one in completed.missing}
    if missing:
        raise Incomplete(f"{len(missing)} of what the evidence needs is missing: see above")


def _read(path: Path) -> EvidenceLike:
    """The evidence in a file, and the endorsements that were collected beside it."""
    try:
        found = read_bare_evidence(read_evidence(path, limit=MAXIMUM_COMPLETED))
    except MalformedInput as error:
        raise MalformedInput(f"{path}: {error}") from error
    brought = (*found.endorsements, *_beside(path))
    return BareEvidence(found.platform, found.report, brought, found.gpu)


def _beside(path: Path) -> Iterator[Endorsement]:
    """`FILE.KIND.NUMBER`, as `cloister evidence collect` writes them, in their order."""
    for kind in get_args(EndorsementKind):
        for number in range(1, _MOST_BESIDE + 1):
            file = Path(f"{path}.{kind}.{number}")
            if file.is_file():
                yield Endorsement(kind=kind, data=read_evidence(file, limit=MAXIMUM_COMPLETED))


async def _complete(evidence: Sequence[EvidenceLike], store: EndorsementStore, urls: VendorUrls) -> list[Completed]:
    """One after the other: what one of them had fetched, the next finds in the store."""
    async with Fetchers.of_vendors(urls, limits=_NO_STRANGERS) as fetchers:
        return [await complete(one, store, fetchers, at=now(), asker=f"file {at}") for at, one in enumerate(evidence)]


def _show(path: Path, completed: Completed) -> None:
    out = console()
    out.print(Text(printable(str(path)), style="bold"))
    for kept in completed.kept:
        own = describe(kept)
        line = Text("  ") + Text("✓", style="green") + Text(f" {own.kind:<22} until {moment(own.until)}  ")
        out.print(line + Text(printable(own.subject)))
    for missing in completed.missing:
        out.print(Text("  ") + Text("✗", style="bold red") + Text(printable(f" {missing}")))
    if not completed.kept and not completed.missing:
        out.print("  needs nothing: its chain comes with it")


def _told(path: Path, completed: Completed) -> dict[str, object]:
    found = [describe(kept) for kept in completed.kept]
    return {
        "file": str(path),
        "found": [{"kind": one.kind, "subject": one.subject, "from": one.first, "until": one.until} for one in found],
        "missing": [{"what": one.words, "reason": one.reason, "retry": one.retry} for one in completed.missing],
    }
