"""What an Azure confidential VM must meet beside its hardware's report: the part of an appraisal policy for it."""

from __future__ import annotations

import msgspec

from cloister.formats.policy_expression import Expressions, require_expressions
from cloister.formats.tpm_policy import TpmPolicy


class AzurePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No field has a default."""

    # Each member of the paravisor's vm-configuration that is named must be there and equal: "secure-boot": true.
    vm_configuration: dict[str, bool | str]
    tpm: TpmPolicy
    expressions: Expressions  # that have to be true of what it says, besides; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)
