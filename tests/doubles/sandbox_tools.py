"""Which tools can confine an engine on the machine that runs the tests."""

from __future__ import annotations

import pytest

from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.plan import Choice, plan


def require_tool(tool: Choice) -> None:
    """Skip where this machine cannot hold engines by `tool`, and say why."""
    try:
        plan(tool=tool)
    except SandboxUnavailable as error:
        if tool == "bwrap":  # every machine for development and tests has it
            raise
        pytest.skip(f"{tool}: {error}")
