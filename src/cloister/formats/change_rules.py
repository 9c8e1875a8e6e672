"""Rules of change: by whose word, and after how long, a constitution or contract has a successor."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats.canonical import Name, Seconds

Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)]


class Urgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Urgent fixes: a successor that changes nothing but workload measurements is in force with this one's signature.

    It stands in the log like every other, for all to see. Only everyone together can agree to such a rule.
    """

    publisher: Name  # of those who are named


class ChangeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names are those of the parties of a contract, or of the amenders of a constitution."""

    approvers: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=32)]
    number: Annotated[int, msgspec.Meta(ge=1, le=32)]  # of approvers that a successor needs
    veto: Names  # each alone ends a proposal, until it is in force
    window_seconds: Seconds  # after its publication a proposal takes approvals for so long
    notice_seconds: Seconds  # from the publication of what approved it to its being in force
    urgent: Urgent | Literal["none"]
