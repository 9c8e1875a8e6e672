"""Authorities and identities in the fold (docs/formats/identity.md)."""

from __future__ import annotations

from dataclasses import replace

from cloister.contract.identity_certificate import read_authority
from cloister.contract.identity_key import possessed_key
from cloister.contract.identity_records import AuthorityRecord, IdentityRecord
from cloister.contract.instances import TIME_SLACK
from cloister.contract.placed import EntryVoid, Placed, require
from cloister.contract.state import ContractLine, State, line_in_force, living_line, signing_instance
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.identity import BACKDATED, LONGEST_LIFE, Identity, parse_authority, parse_identity
from cloister.formats.spiffe import SpiffeName
from cloister.ledger.statements import SignedStatement

KEPT_IDENTITIES = 256  # of a line; of all others the nodes are known


def authority(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A root secret's authority has its certificate: one, for good."""
    made = parse_authority(statement.payload)
    signer = signing_instance(state, statement)
    line = living_line(state, made.contract)
    latest = line.custody.latest
    of_latest = latest is not None and (latest.root.generation, latest.placed.digest) == (made.generation, made.root)
    require("authority.root", of_latest, "is not of the line's latest root secret")
    known = [one.authority.generation for one in line.identities.authorities]
    require("authority.once", made.generation not in known, f"authority {made.generation} has its certificate already")
    try:
        certificate = read_authority(made.certificate, line=made.contract, generation=made.generation)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise EntryVoid("authority.certificate", str(error)) from error
    window = certificate.window
    now = window.not_before <= made.at < window.not_after and made.at + TIME_SLACK >= max(state.latest, state.time)
    require("authority.validity", now, "was not valid when it was made, or states a time long before that")
    record = AuthorityRecord(placed, made, certificate, signer)
    identities = replace(line.identities, authorities=(*line.identities.authorities, record))
    return replace(state, lines=state.lines.put(made.contract, replace(line, identities=identities)))


def identity(state: State, statement: SignedStatement, placed: Placed) -> State:
    """A node, or a KMS instance for itself, is about to get a certificate."""
    made = parse_identity(statement.payload)
    signer = signing_instance(state, statement)
    name, line = line_in_force(state, made.contract)
    require("release.node", made.node.sign not in line.revoked_nodes, "is of a node that is revoked")
    named = {one.role for one in line.current.serving.nodes}
    may = made.node.sign == signer if made.role == "kms" else made.role in named
    require("identity.role", may, "is for a role that the contract does not name, or a KMS's and not for itself")
    full = str(SpiffeName(name, line.current.sequence, made.role, made.node.thumbprint()))
    require("identity.name", made.name == full, f"is named otherwise than {full}")
    try:
        possessed_key(made.key, made.proof, line=name, node=made.node.sign)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise EntryVoid("identity.key", str(error)) from error
    _require_authorities(line, made)
    _require_window(state, line, made)
    issued = line.identities.issued
    fresh = all(one.identity.serial != made.serial for one in issued) and made.serial[0] >> 6 == 0b01
    require("identity.serial", fresh, "has a serial number that was given before, or of another form")
    nodes, thumbprint = line.identities.nodes, made.node.thumbprint()
    identities = replace(
        line.identities,
        issued=(*issued, IdentityRecord(placed, made, signer))[-KEPT_IDENTITIES:],
        nodes=nodes if thumbprint in nodes else nodes.put(thumbprint, made.node.sign),
    )
    return replace(state, lines=state.lines.put(name, replace(line, identities=identities)))


def _require_authorities(line: ContractLine, made: Identity) -> None:
    trusted = {one.placed.digest for one in line.identities.trusted(line.custody)}
    all_of_them = set(made.authorities) == trusted and len(made.authorities) == len(trusted)
    require("identity.authority", all_of_them, "does not name the authorities of its line")


def _require_window(state: State, line: ContractLine, made: Identity) -> None:
    issuer = next(one for one in line.identities.authorities if one.placed.digest == made.authorities[0])
    ends = min(line.current.not_after, issuer.certificate.window.not_after)
    ordered = made.not_before <= made.at < made.not_after <= ends
    require("identity.validity", ordered, "outlives its contract or its authority, or is not valid when it is made")
    long = made.not_after - made.not_before > LONGEST_LIFE + BACKDATED
    require("identity.validity", not long, f"is valid for longer than {LONGEST_LIFE} s")
    backdated = made.at + TIME_SLACK < max(state.latest, state.time)
    require("identity.validity", not backdated, "states a time long before the entries before it")
