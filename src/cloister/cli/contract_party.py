"""`cloister contract party`: the keys of an organisation, and the part of the contract that is about it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from cloister.cli.terminal import say
from cloister.client.durable import replace_file
from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats.contract import Duty, Party
from cloister.formats.contract_file import PartyFile
from cloister.formats.record_file import format_record_file, no_comment
from cloister.storage.key_file import write_secret, write_signing_key

SIGN, SEAL, FRAGMENT = "sign.seed", "seal.key", "party.toml"
EPILOG = """\b
Examples:
  cloister contract party "The Hospital" --duty data-provider --duty custodian --folder hospital
  cloister contract party "Models Ltd" --duty model-owner --folder vendor

DIR then holds sign.seed and seal.key, which stay where they are (mode 600), and party.toml, which the others need.
"""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME")
@click.option(
    "--duty", "duties", type=click.Choice(get_args(Duty)), multiple=True, required=True, help="What it does; again."
)
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="A new folder."
)
def party(name: str, *, duties: tuple[Duty, ...], folder: Path) -> None:
    """Make the keys of the party NAME, an organisation, and the file about it that the others need."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(
            f"{folder} is there already: keys are never made anew over others; name a new folder"
        ) from error
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    sign, seal = SigningKey.generate(), KemPrivateKey.generate(X_WING)
    said = PartyFile(
        parties=(Party(name=name, duties=tuple(dict.fromkeys(duties)), keys=(sign.public,), seal=seal.public),)
    )
    write_signing_key(folder / SIGN, sign)
    write_secret(folder / SEAL, seal.secret)
    replace_file(folder / FRAGMENT, format_record_file(said, comment=no_comment).encode())
    say(f"made {folder / SIGN} and {folder / SEAL}: keep both, and show them to nobody")
    say(f"made {folder / FRAGMENT}: send it to the other parties")
