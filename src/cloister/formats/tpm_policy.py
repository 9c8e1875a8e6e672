"""What a TPM's quote must meet: the part of an appraisal policy for TPMs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

PcrIndex = Annotated[int, msgspec.Meta(ge=0, le=23)]
PcrValue = Annotated[bytes, msgspec.Meta(min_length=32, max_length=64)]
Bank = Literal["sha256", "sha384", "sha512"]


class TpmPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No field has a default, and a policy that names no PCR cannot be written."""

    bank: Bank
    pcrs: Annotated[dict[PcrIndex, tuple[PcrValue, ...]], msgspec.Meta(min_length=1)]  # each must have one of these
