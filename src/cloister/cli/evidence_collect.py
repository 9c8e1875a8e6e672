"""`cloister evidence collect`: fresh evidence of the TEE that this machine is, as files or JSON."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec

from cloister.cli.terminal import printable
from cloister.client.durable import replace_file
from cloister.errors import UsageError
from cloister.formats.endorsements import Endorsement
from cloister.formats.evidence import GpuEvidence
from cloister.formats.nvidia_envelope import EnvelopedDevice, encode_nvidia_envelope
from cloister.tee.collectors.collected import Collected, Collector, HardwarePlatform
from cloister.tee.collectors.detected import Wanted, open_collector
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nvml import CollectedGpu, collect_gpus

EPILOG = """\b
Examples:
  cloister evidence collect --out here.evidence                  answers a challenge of our own drawing
  cloister evidence collect --challenge HEX --out here.evidence  answers somebody else's
  cloister evidence collect --json | jq -r .platform

What the host lays beside a report goes into files of its own, here.evidence.KIND.NUMBER, and what the GPUs say into
here.evidence.gpus, as NVIDIA's tools write it. A challenge stands at the
front of the report data, with zeros behind it. docs/howto/hardware-evidence.md says which kernel and which rights each
platform needs.
"""
CHALLENGE: Final = 32  # bytes


class Hex(click.ParamType[bytes]):
    """Bytes in hex digits."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The bytes."""
        try:
            return bytes.fromhex(str(value))
        except ValueError:
            self.fail("these are no hex digits, two for each byte", param, ctx)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was collected; bytes are Base64 in JSON."""

    platform: str
    challenge: bytes
    report_data: bytes
    report: bytes
    endorsements: tuple[Endorsement, ...]
    gpus: tuple[GpuEvidence, ...]
    remarks: tuple[str, ...]


@click.command(epilog=EPILOG)
@click.option("--challenge", type=Hex(), metavar="HEX", help="32 bytes to answer. [default: drawn, and printed]")
@click.option("--report-data", type=Hex(), metavar="HEX", help="All bytes that the evidence carries: 64; on Azure 32.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the report here.")
@click.option(
    "--platform",
    type=click.Choice(["auto", *get_args(HardwarePlatform)]),
    default="auto",
    show_default=True,
    help="The platform that this machine is.",
)
@click.option("--gpus", is_flag=True, help="Collect that of every NVIDIA GPU, too: the challenge is their nonce.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def collect(
    challenge: bytes | None,
    report_data: bytes | None,
    out: Path | None,
    platform: Wanted,
    *,
    gpus: bool,
    as_json: bool,
) -> None:
    """Collect fresh evidence of the TEE that this machine is. Nothing of it is checked here."""
    if out is None and not as_json:
        raise UsageError("evidence is bytes, not words: name a file with --out FILE, or take it as --json")
    here = click.get_current_context().find_object(Machine) or Machine()  # tests bring their own
    collector = open_collector(here, platform)
    answered = secrets.token_bytes(CHALLENGE) if challenge is None else challenge
    carried = _report_data(collector, answered, report_data)
    collected = collector.collect(carried, challenge=answered)
    devices = collect_gpus(answered, load=here.nvml) if gpus else ()
    files = {} if out is None else _files(out, collected) | _gpu_files(out, devices, answered)
    for path, data in files.items():
        replace_file(path, data)
    if as_json:
        said = Report(
            platform=collector.platform,
            challenge=answered,
            report_data=carried,
            report=collected.report,
            endorsements=collected.endorsements,
            gpus=tuple(device.evidence for device in devices),
            remarks=collected.remarks,
        )
        click.echo(msgspec.json.format(msgspec.json.encode(said)).decode())
        return
    click.echo(f"platform   {collector.platform}")
    click.echo(f"challenge  {answered.hex()}")
    for path, data in files.items():
        click.echo(printable(f"written    {path} ({len(data):,} bytes)"))
    for remark in collected.remarks:
        click.echo(printable(f"remark     {remark}"))
    click.echo("\nNothing of this was checked: cloister evidence verify does that.")


def _report_data(collector: Collector, challenge: bytes, given: bytes | None) -> bytes:
    """What the evidence carries: as given, or the challenge with zeros behind it.

    Raises:
        UsageError: either has another size than there is room.
    """
    if len(challenge) != CHALLENGE:
        raise UsageError(f"a challenge of {len(challenge)} bytes: it has {CHALLENGE}")
    if given is not None and len(given) != collector.room:
        raise UsageError(
            f"report data of {len(given)} bytes: evidence of {collector.platform} carries {collector.room}"
        )
    return challenge.ljust(collector.room, b"\0") if given is None else given


def _files(out: Path, collected: Collected) -> dict[Path, bytes]:
    """The report, and beside it each endorsement by its kind and place in the list."""
    beside = enumerate(collected.endorsements, 1)
    return {out: collected.report} | {Path(f"{out}.{one.kind}.{number}"): one.data for number, one in beside}


def _gpu_files(out: Path, devices: Sequence[CollectedGpu], nonce: bytes) -> dict[Path, bytes]:
    """The GPUs' evidence in the envelope of NVIDIA's tools."""
    entries = [EnvelopedDevice(one.architecture, nonce, one.evidence.report, one.evidence.chain) for one in devices]
    return {Path(f"{out}.gpus"): encode_nvidia_envelope(entries)} if entries else {}
