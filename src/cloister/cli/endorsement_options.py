"""What the commands of `cloister endorsements` share: the store, whose roots it is of, and how moments are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from cloister.attest.roots import VENDORS, roots_of
from cloister.cli.appraisal_policy import read_appraisal_policy
from cloister.cli.state_folder import StateFolder, state_option
from cloister.endorsements.store import EndorsementStore
from cloister.errors import UsageError
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.endorsement_bundle import KINDS

Command = TypeVar("Command", bound=Callable[..., Any])


def store_options(command: Command) -> Command:
    """`--store`, `--appraisal-policy` and `--state`, as `store`, `policy` and `state`: give them to `open_store`."""
    policy = click.option(
        "--appraisal-policy",
        "policy",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="POLICY",
        help="The appraisal policy whose roots are pinned.  [default: the vendors' own roots]",
    )
    store = click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="The store.  [default: endorsements/ in the state folder]",
    )
    return store(policy(state_option(command)))


def open_store(store: Path | None, policy: Path | None, state: StateFolder) -> EndorsementStore:
    """The store that the options name, made where there is none: for what writes into it.

    Raises:
        UsageError: it cannot be used, or the policy cannot be read.
        MalformedInput, TooLarge: the policy is none.
    """
    roots = _roots(policy)
    if store is None:
        try:
            state.root.mkdir(parents=True, exist_ok=True, mode=0o700)  # its owner's alone, as cloister up wants it
        except OSError as error:
            raise UsageError(f"the state folder {state.root} cannot be made: {error.strerror}") from error
    return EndorsementStore(store or state.endorsements, roots)


def open_made_store(store: Path | None, policy: Path | None, state: StateFolder) -> EndorsementStore:
    """The store that the options name, as it is: for what only reads, and so makes nothing.

    Raises:
        UsageError: there is none, all that it has is under other roots, or the policy cannot be read.
        MalformedInput, TooLarge: the policy is none.
    """
    folder = store or state.endorsements
    if not folder.is_dir():
        raise UsageError(
            f"there is no store of endorsements at {folder}: name yours with --store DIR; cloister endorsements fetch"
            " or import makes one"
        )
    opened = EndorsementStore(folder, _roots(policy), make=False)
    apart = opened.under_other_roots()
    if apart and not any(any(opened.of_kind(kind)) for kind in KINDS):
        raise UsageError(
            f"the store {folder} has nothing under these roots, and {apart} endorsements under other roots: give"
            f" {'the' if policy is None else 'another'} --appraisal-policy, with which they were taken"
        )
    if not apart and not opened.there:
        raise UsageError(f"{folder} is no store of endorsements: cloister endorsements fetch or import makes one")
    return opened


def _roots(policy: Path | None) -> VendorRoots:
    return VENDORS if policy is None else roots_of(read_appraisal_policy(policy))


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())  # noqa: TID251 - whether something is in date is asked of the calendar


def moment(at: int) -> str:
    """A moment, in 16 characters: `2026-11-21 12:00`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
