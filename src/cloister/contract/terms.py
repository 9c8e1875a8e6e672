"""Which checks a data-use term may rest on: those that a KMS performs before a key leaves."""

from __future__ import annotations

from typing import Final

from cloister.contract.release_steps import ASSET_STEPS, PUBLICATION_STEPS, RELEASE_STEPS, USE_PUBLICATION_STEPS

ENFORCING: Final = frozenset({*RELEASE_STEPS, *PUBLICATION_STEPS, *ASSET_STEPS, *USE_PUBLICATION_STEPS})
