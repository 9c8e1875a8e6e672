"""What a verifier's token in place of a report says, claim by claim (docs/formats/attestation-result.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from cloister.cli.explained.certificates import chain_part
from cloister.cli.explained.page import Field, Page, Part, Raw, fields
from cloister.formats.jwt import Jwt, parse_jwt, parse_jwt_members
from cloister.formats.named_token import parse_named_token

_SAYS: Final = MappingProxyType(
    {
        "verifier": "Whose word it is, by the name in the contract, which pins that verifier's keys.",
        "token_size": "Bytes of the token.",
        "alg": "How it says that it is signed; the reader knows how it has to be.",
        "typ": "What it says that it is.",
    }
)
_CLAIMS: Final = MappingProxyType(
    {
        "iss": "Who made it.",
        "aud": "For whom.",
        "iat": "When it was made, in seconds since 1970.",
        "nbf": "From when on it counts.",
        "exp": "When it is over.",
        "eat_nonce": "What it answers: of evidence of ours, the binding.",
        "x-ms-attestation-type": "Which kind of hardware Microsoft saw.",
        "x-ms-sevsnpvm-reportdata": "What the guest put into its report: the binding.",
        "x-ms-sevsnpvm-launchmeasurement": "What was loaded at the start: the platform's measurement.",
        "tdx_report_data": "What the trust domain put into its quote: the binding.",
        "tdx_rtmr3": "The register that a measured loader extends by the workload.",
        "hwmodel": "Which kind of hardware Google saw.",
        "dbgstat": "Whether the system can be looked into.",
        "swname": "Which system runs.",
        "swversion": "Which version of it.",
        "submods.container.image_digest": "Which container runs, and so which workload.",
        "cloister.workload": "SHA-384 over everything that runs.",
        "cloister.platform_measurement": "What the platform measured below that.",
        "ear_status": "What the verifier thinks of it, at the worst.",
    }
)
_UNPLAIN: Final = re.compile(r"[^A-Za-z0-9_.-]")
_OTHER: Final = "A claim of the verifier's."


def explain_named_token(report: bytes) -> Page:
    """The report of evidence by a verifier's word.

    Raises:
        TooLarge, MalformedInput: not such a report, or not a token in it.
    """
    named = parse_named_token(report)
    jwt = parse_jwt(named.token)
    title = "A verifier's word in place of a report: nobody here sees the evidence that it saw"
    told: dict[str, Raw] = {"verifier": named.verifier, "token_size": len(named.token)}
    told |= {"alg": jwt.header.alg, "typ": jwt.header.typ}
    envelope = Part(name="report", title=title, signed_by=None, fields=fields(told, _SAYS))
    by = "a key of the verifier's, if the signature holds"
    claims = Part(name="claims", title="What the verifier says", signed_by=by, fields=tuple(_claims(jwt)))
    chains = tuple(chain_part(one, name=f"x5c.{at}") for at, one in enumerate(jwt.chain))
    return Page(format="named-token", title=title, parts=(envelope, claims, *chains))


def _claims(jwt: Jwt) -> Iterator[Field]:
    """Names are the token's own, as far as a terminal may have them; two that look alike then are told apart."""
    seen: set[str] = set()
    for path, value in _flat(parse_jwt_members(jwt.payload)):
        name = plain = _UNPLAIN.sub("_", path) or "_"
        while name in seen:
            name = f"{plain}.{len(seen)}"
        seen.add(name)
        yield Field(name=name, value=value, says=_CLAIMS.get(path, _OTHER))


def _flat(members: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | bool | None]]:
    """Members by their paths; lists as JSON, and so is what lies deeper than three objects."""
    for name, value in members.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path.count(".") < 2:
            yield from _flat(value, f"{path}.")
        elif isinstance(value, Mapping | list):
            yield path, json.dumps(value)
        else:
            yield path, value
