"""`cloister section import` and `export`: IBM Hyper Protect's contracts, signed in both directions."""

from __future__ import annotations

from pathlib import Path

import click

from cloister.cli.contract_log import json_option
from cloister.cli.section_files import PLAIN, read_file, read_section
from cloister.cli.section_new import comment_of
from cloister.cli.terminal import say, say_json, say_result
from cloister.crypto.hyper_protect import MAXIMUM_PEM, read_rsa_private, read_rsa_public
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.hyper_protect import (
    MAXIMUM_CONTRACT,
    format_encrypted_contract,
    parse_encrypted_contract,
)
from cloister.formats.hyper_protect_sections import imported_section
from cloister.formats.section import Section, encode_section
from cloister.formats.section_file import format_section_file
from cloister.storage.key_file import read_secret, write_secret
from cloister.trust.hyper_protect import examine_hyper_protect, export_contract, export_workload

IMPORT_EPILOG = """\b
Examples:
  cloister section import contract.yaml --signer signer.pem --private-key machine.pem \\
      --workload-persona "Models Ltd" --environment-persona "The Operator" --out imported

CONTRACT has both sections encrypted (hyper-protect-basic.…) and a signature over them, which is mandatory: that
encryption does not show changes. The signer's public key comes from the signer, not with the contract. Who has the
private key reads both sections: do this before they are sealed apart. Exit code 3 names the check that failed.
"""
EXPORT_EPILOG = """\b
Examples:
  cloister section export workload.toml --certificate ibm.crt >workload.token
  cloister section export environment.toml --certificate ibm.crt --workload workload.token \\
      --signing-key signer.pem >contract.yaml

The workload's persona makes a token, which is no contract yet; the environment's adds its own section and signs both.
Nothing of what binds a section here (contract, code, number, expiry) has an equal there.
"""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("import", epilog=IMPORT_EPILOG)
@click.argument("path", metavar="CONTRACT", type=_FILE)
@click.option(
    "--signer", type=_FILE, required=True, metavar="FILE", help="The signer's public key or certificate, PEM."
)
@click.option(
    "--private-key", type=_FILE, required=True, metavar="FILE", help="The key it is encrypted to, PEM, mode 600."
)
@click.option("--workload-persona", required=True, metavar="PARTY", help="Whose the workload's section becomes.")
@click.option("--environment-persona", required=True, metavar="PARTY", help="Whose the environment's becomes.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="A folder for both."
)
@json_option
def import_(path: Path, *, signer: Path, private_key: Path, out: Path, as_json: bool, **personas: str) -> None:
    """Read the sections of CONTRACT, IBM Hyper Protect's, if the named signer signed it."""
    try:
        contract = parse_encrypted_contract(read_file(path, limit=MAXIMUM_CONTRACT))
    except (MalformedInput, TooLarge) as error:
        raise type(error)(f"{path}: {error}") from error
    named = read_rsa_public(read_file(signer, limit=MAXIMUM_PEM))
    key = read_rsa_private(read_secret(private_key, limit=MAXIMUM_PEM))
    found = examine_hyper_protect(contract, signer=named, key=key).require()
    sections = (
        imported_section(found.workload, persona=personas["workload_persona"]),
        imported_section(found.env, persona=personas["environment_persona"]),
    )
    for section in sections:
        encode_section(section)  # whether it can be sealed, before anything is written
    written = [str(_written(out, section)) for section in sections]
    if as_json:
        say_json({"files": written})
    else:
        for one in written:
            say(f"{one}: as it was signed; cloister section show {one}")


@click.command(epilog=EXPORT_EPILOG)
@click.argument("path", metavar="SECTION", type=_FILE)
@click.option("--certificate", type=_FILE, required=True, metavar="FILE", help="Whose key it is encrypted to, PEM.")
@click.option("--workload", type=_FILE, metavar="FILE", help="With an environment's: the workload's token.")
@click.option("--signing-key", type=_FILE, metavar="FILE", help="With an environment's: an RSA key, PEM, mode 600.")
def export(path: Path, *, certificate: Path, workload: Path | None, signing_key: Path | None) -> None:
    """Print SECTION in IBM Hyper Protect's form: a workload's token, or a whole signed contract."""
    section, to = read_section(path), read_rsa_public(read_file(certificate, limit=MAXIMUM_PEM))
    if section.kind == "workload":
        if workload is not None or signing_key is not None:
            raise UsageError("a workload's section is exported by itself; the environment's persona signs both")
        say_result(export_workload(section, to))
        return
    if workload is None or signing_key is None:
        raise UsageError(
            "an environment's section takes --workload TOKEN and --signing-key KEY: no contract is unsigned"
        )
    token = read_file(workload, limit=MAXIMUM_CONTRACT).decode("ascii", "replace").strip()
    signer = read_rsa_private(read_secret(signing_key, limit=MAXIMUM_PEM))
    say_result(format_encrypted_contract(export_contract(section, token, to=to, signer=signer)).rstrip("\n"))


def _written(folder: Path, section: Section) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{section.kind}.toml"
    write_secret(path, format_section_file(section, comment=comment_of), what=PLAIN)
    return path
