"""What evidence must meet (docs/formats/evidence.md): part of constitutions and contracts, fixed by their digest."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats.canonical import Digest, Measurement, PublicKey
from cloister.formats.evidence import Platform, Role, Unsafe


class AppraisalPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No list has a default: an empty list allows nothing."""

    version: Literal[1] = 1
    unsafe: tuple[Unsafe, ...]
    platforms: tuple[Platform, ...]
    software_keys: tuple[PublicKey, ...]  # the local platform keys whose reports are taken
    platform_measurements: tuple[Measurement, ...]


class RoleReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The reference values for one role: which code may play it, with which settings."""

    role: Role
    workloads: Annotated[tuple[Measurement, ...], msgspec.Meta(max_length=64)]
    settings: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=64)]
