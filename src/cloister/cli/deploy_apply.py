"""`cloister deploy apply`: the manifest of a file, as the next revision of the machines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cloister.cli.contract_files import read_contract, read_file
from cloister.cli.deploy_access import Access, Machines, Wish, machine_options, signing_options
from cloister.cli.deploy_rollout import catch_up, next_revision, roll_out
from cloister.cli.local.terms import last_constitution
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.node_manifest import Node, NodeManifest, require_form
from cloister.formats.node_manifest_file import ManifestFile, parse_manifest_file, settings_text
from cloister.node.entries_file import read_entries
from cloister.services.deployment.node_settings import read_settings
from cloister.services.deployment.workloads import examine_workloads

EPILOG = """\b
Examples:
  cloister deploy apply manifest.toml --machine http://127.0.0.1:7100 --dry-run
  cloister deploy apply manifest.toml --machine http://127.0.0.1:7100 --key ops/sign.seed
  cloister deploy apply manifest.toml --machine https://a.example:7100 --machine https://b.example:7100 \\
      --tls ca.crt me.crt me.key --key ops/sign.seed --contract contract.signed

Before anything is sent, the settings of every node are read as its role reads them, and with --contract (for a KMS
--constitution) the workload of each gateway has to be one that the contract names. Machines take the revision in the
order in which they are named, each when the one before is done. Where a node is not ready in its time, its machine goes
back to what it had, the machines after it are not told, and the exit code is 1. To apply the same again is harmless:
machines that have it are left alone. docs/formats/node-manifest.md says what stands in MANIFEST.
"""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog=EPILOG)
@click.argument("path", metavar="MANIFEST", type=_FILE)
@machine_options
@click.option(
    "--contract", type=_FILE, metavar="FILE", help="The contract that gateways are to serve; its entries, or one."
)
@click.option(
    "--constitution", type=_FILE, metavar="FILE", help="The entries of the constitution that a KMS is to meet."
)
@signing_options
def apply(
    path: Path,
    access: Access,
    *,
    contract: Path | None,
    constitution: Path | None,
    wish: Wish,
) -> None:
    """Have machines run what MANIFEST says, one process at a time, each ready before the next."""
    deployment, nodes = read_manifest(path)
    for node in nodes:
        read_settings(node)
    examine_workloads(nodes, named_workloads(contract, constitution)).require()
    asyncio.run(apply_nodes(access, deployment, nodes, wish))


def read_manifest(path: Path) -> tuple[str, tuple[Node, ...]]:
    """The deployment and the nodes of a manifest file, with the settings files that it names.

    Raises:
        UsageError: a file cannot be read.
        TooLarge, MalformedInput: it is no manifest, or makes no sense; the file is named.
    """
    try:
        file = parse_manifest_file(read_file(path))
        nodes = _nodes(file, path.parent)
        require_form(NodeManifest(deployment=file.deployment, number=1, previous=b"", restores=0, nodes=nodes))
    except (MalformedInput, TooLarge) as error:
        raise type(error)(f"{path}: {error}") from error
    return file.deployment, nodes


def named_workloads(contract: Path | None, constitution: Path | None) -> Mapping[str, Sequence[bytes]]:
    """The workloads that a contract and a constitution name, by role; of a role that neither is about, nothing.

    Raises:
        CloisterError: a file cannot be read, or is none such.
    """
    named: dict[str, list[bytes]] = {}
    references = []
    if contract is not None:
        named["gateway"] = []
        references += [node for task in read_contract(contract).contract.tasks for node in task.nodes]
    if constitution is not None:
        named["kms"] = []
        references.append(last_constitution(read_entries(constitution)).kms)
    for reference in references:
        named.setdefault(reference.role, []).extend(reference.workloads)
    return named


def _nodes(file: ManifestFile, folder: Path) -> tuple[Node, ...]:
    nodes = []
    for node in file.nodes:
        if isinstance(node.settings, str):
            try:
                text = read_file(folder / node.settings).decode()
            except UnicodeDecodeError as error:
                raise MalformedInput(f"node {node.name}: {folder / node.settings} is not UTF-8") from error
        else:
            text = settings_text(node)
        nodes.append(node.node(text))
    return tuple(nodes)


async def apply_nodes(access: Access, deployment: str, nodes: tuple[Node, ...], wish: Wish) -> None:
    """Have all machines run `nodes`; raises as `roll_out`."""
    async with access.machines() as machines:
        if deployment != machines.deployment:
            raise UsageError(f"the manifest is of {deployment}, and the machines are of {machines.deployment}")
        head = await machines.head(wish.operators)
        if head is not None and head.nodes == nodes and not _failed(machines):
            await catch_up(machines, head, wish)
        else:
            await roll_out(machines, next_revision(head, machines, nodes), wish)


def _failed(machines: Machines) -> bool:
    """Whether a machine that took the newest revision did not get it to run."""
    heads = [machine.state.head for machine in machines.all if machine.head == machines.leader.head]
    return any(head is not None and head.standing == "failed" for head in heads)
