"""What a Nitro Enclave's document must meet: the part of an appraisal policy for this platform."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cloister.formats.canonical import Measurement, Seconds
from cloister.formats.nitro_document import Index
from cloister.formats.policy_expression import Expressions, require_expressions


class NitroImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One enclave image, by what `nitro-cli build-enclave` prints; its parts belong together."""

    pcr0: Measurement  # the whole image file
    pcr1: Measurement  # kernel and boot ramdisk
    pcr2: Measurement  # the application


class NitroPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No field has a default: an empty list of images allows none."""

    images: Annotated[tuple[NitroImage, ...], msgspec.Meta(max_length=64)]
    # Each PCR named must have one of its values: 3 the parent's role, 4 the parent instance, 8 who signed the image.
    pcrs: dict[Index, tuple[Measurement, ...]]
    maximum_age_seconds: Seconds  # of a document when it is appraised
    maximum_ahead_seconds: Seconds  # by which AWS's clock may be before the appraiser's
    expressions: Expressions  # that have to be true of what it says, besides; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)
