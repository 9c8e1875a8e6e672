"""What a TPM's quote must meet: the part of an appraisal policy for TPMs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

PcrIndex = Annotated[int, msgspec.Meta(ge=0, le=23)]
PcrValue = Annotated[bytes, msgspec.Meta(min_length=32, max_length=64)]
Bank = Literal["sha256", "sha384", "sha512"]
# Any software may set these back and extend them by what it likes (TCG PC Client Platform TPM Profile 1.06, table 6).
RESETTABLE_PCRS: Final = (16, 23)


class TpmPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No field has a default, and a policy that names no PCR, or one that proves nothing, cannot be written."""

    bank: Bank
    pcrs: Annotated[dict[PcrIndex, tuple[PcrValue, ...]], msgspec.Meta(min_length=1)]  # each must have one of these

    def __post_init__(self) -> None:
        """Refuse PCRs whose value software chooses.

        Raises:
            ValueError: the policy names one.
        """
        chosen = [index for index in RESETTABLE_PCRS if index in self.pcrs]
        if chosen:
            raise ValueError(f"PCR{chosen[0]} proves nothing: any software may set it back and extend it anew")
