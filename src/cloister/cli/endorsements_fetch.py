"""`cloister endorsements fetch`: what evidence needs of vendors, into the store and into a bundle to carry away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec
from rich.text import Text

from cloister.attest.endorsements import describe
from cloister.cli.chain import console
from cloister.cli.endorsement_options import moment, now, open_store, store_options
from cloister.cli.evidence_file import read_evidence
from cloister.cli.exit_codes import pointer, worst
from cloister.cli.failure import show
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
from cloister.errors import CloisterError, Unavailable, UsageError
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


OFFLINE: Final = (
    ". Where vendors cannot be reached, name a mirror that can be, with --amd-kds and its like; or run this where there"
    " is a network, with --out BUNDLE, and here: cloister endorsements import BUNDLE"
)


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
) -> int:
    """Fetch what the evidence in each FILE needs of vendors into the store, and write it into a bundle.

    What the store has and is in date is not asked for again. One FILE that is refused does not stop the others; the
    exit code is that of the worst.
    """
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}, make it first; nobody was asked yet")
    opened = open_store(store, policy, state)
    gathered = asyncio.run(_gather(paths, opened, VendorUrls(**vendors)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_told(one) for one in gathered])).decode())
    else:
        for one in gathered:
            _show(one)
    kept = {kept for one in gathered for kept in one.completed.kept}
    if out is not None and kept:
        data = encode_bundle(kept)
        replace_file(out, data)
        click.echo(f"wrote {out}: {len(kept)} endorsements, {len(data)} bytes", err=as_json)
    return _end(gathered)


def _end(gathered: Sequence[_Gathered]) -> int:
    """Say what went wrong; the exit code."""
    errors = [(one.error, str(one.path)) for one in gathered if one.error is not None]
    missing = {str(lacking) for one in gathered for lacking in one.completed.missing}
    if missing:
        told = f"{len(missing)} of what the evidence needs is missing: see above"
        silent = any(lacking.retry for one in gathered for lacking in one.completed.missing)
        errors.append((Incomplete(f"{told}{OFFLINE if silent else ''}"), ""))
    if len(errors) == 1 and not errors[0][1]:
        raise errors[0][0]
    for error, about in errors:
        show(error, about=about or "all of them together")
    code = worst(error.exit_code for error, _ in errors)
    if code:
        click.echo(f"  {pointer(code)}", err=True)
    return code


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What became of one file."""

    path: Path
    completed: Completed
    error: CloisterError | None = None  # why nothing was asked for


async def _gather(paths: Sequence[Path], store: EndorsementStore, urls: VendorUrls) -> list[_Gathered]:
    """One after the other: what one of them had fetched, the next finds in the store."""
    async with Fetchers.of_vendors(urls, limits=_NO_STRANGERS) as fetchers:
        return [await _complete(path, store, fetchers) for path in paths]


async def _complete(path: Path, store: EndorsementStore, fetchers: Fetchers) -> _Gathered:
    try:
        return _Gathered(path, await complete(_read(path), store, fetchers, at=now(), asker=str(path)))
    except CloisterError as error:
        return _Gathered(path, Completed((), (), ()), error)


def _read(path: Path) -> EvidenceLike:
    """The evidence in a file, and the endorsements that were collected beside it."""
    found = read_bare_evidence(read_evidence(path, limit=MAXIMUM_COMPLETED))
    brought = (*found.endorsements, *_beside(path))
    return BareEvidence(found.platform, found.report, brought, found.gpu)


def _beside(path: Path) -> Iterator[Endorsement]:
    """`FILE.KIND.NUMBER`, as `cloister evidence collect` writes them, in their order."""
    for kind in get_args(EndorsementKind):
        for number in range(1, _MOST_BESIDE + 1):
            file = Path(f"{path}.{kind}.{number}")
            if file.is_file():
                yield Endorsement(kind=kind, data=read_evidence(file, limit=MAXIMUM_COMPLETED))


def _show(one: _Gathered) -> None:
    out = console()
    out.print(Text(printable(str(one.path)), style="bold"))
    for kept in one.completed.kept:
        own = describe(kept)
        line = Text("  ") + Text("✓", style="green") + Text(f" {own.kind:<22} until {moment(own.until)}  ")
        out.print(line + Text(printable(own.subject)))
    for missing in one.completed.missing:
        out.print(Text("  ") + Text("✗", style="bold red") + Text(printable(f" {missing}")))
    if one.error is not None:
        out.print(Text("  ") + Text("✗", style="bold red") + Text(" nothing was asked for: see below"))
    elif not one.completed.kept and not one.completed.missing:
        out.print("  needs nothing: its chain comes with it")


def _told(one: _Gathered) -> dict[str, object]:
    found = [describe(kept) for kept in one.completed.kept]
    return {
        "file": str(one.path),
        "found": [{"kind": own.kind, "subject": own.subject, "from": own.first, "until": own.until} for own in found],
        "missing": [
            {"what": lacking.words, "reason": lacking.reason, "retry": lacking.retry}
            for lacking in one.completed.missing
        ],
        "error": None if one.error is None else str(one.error),
    }
