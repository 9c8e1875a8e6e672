"""Each engine is held as a gateway here holds it, by every tool: its own confinement, its own sizes, its own profile.

What every run tries are the attempts that depend on an engine: on its sizes, on its model, on being a server. The
others depend on what engines of one confinement have in common, which is shown first, and are tried in `test_escapes`.
`make escapes` tries everything everywhere.
"""

import functools
import os
import re

import pytest
from msgspec import structs
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import traversable_folder
from tests.doubles.upstreams import folder_of

from cloister.sandbox.escapes.suite import ROOMS, SampleModel, attempts, try_all
from cloister.sandbox.plan import plan
from cloister.sandbox.sizes import Sizes
from cloister.sandbox.upstream import upstream_engine
from cloister.services.gateway.engine_choice import ENGINES

EVERY = "ESCAPES_EVERY" in os.environ
ON_SIZES = {
    "fill more than the scratch",
    "make a file over its cap",
    "explode in threads",
    "open more files than allowed",
    "use more memory than allowed",
}
SERVERS = {"an upstream on a socket": "socket", "an upstream on a port": "port"}
HELD = [
    *((name, tool) for name in ENGINES for tool in ("bwrap", "gvisor", "landlock")),
    *((name, tool) for name in SERVERS for tool in ("bwrap", "gvisor")),  # Landlock alone holds workers only
]
TRIED = [
    (name, tool)
    for name, tool in HELD
    if EVERY or name in SERVERS or (tool == "bwrap" and ENGINES[name].takes_model != "no")
]


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """All engines by their names."""
    listening = {name: {"listens": place, "command": ["{folder}/x", f"{{{place}}}"]} for name, place in SERVERS.items()}
    made = {name: folder_of(tmp_path_factory.mktemp("software"), **listening[name]) for name in SERVERS}
    return ENGINES | {name: upstream_engine(folder) for name, folder in made.items()}


plan_once = functools.cache(plan)  # it proves each by a trial start


def planned(engine, tool, sizes):
    """How a gateway here would hold `engine`, with a model where it takes one."""
    require_tool(tool)
    holding = sizes if engine.takes_model == "no" else sizes.holding(SampleModel.files)
    return plan_once(holding, confinement=engine.confinement, tool=tool)


def without_sizes(profile):
    """A profile's fields but for its limits, and with every size in what is told to the tool as the same."""
    limits = (value for value in structs.asdict(profile.limits).values() if isinstance(value, int))
    sizes = re.compile("|".join(rf"\b{value}\b" for value in limits if value > 4096))
    told = {"arguments": " ".join(profile.arguments), "configuration": profile.configuration}
    return structs.asdict(profile) | {"limits": None} | {name: sizes.sub("a size", text) for name, text in told.items()}


@pytest.mark.parametrize(("name", "tool"), HELD)
def test_an_engine_is_held_as_every_other_of_its_confinement_but_for_its_sizes(engines, name, tool):
    engine = engines[name]
    profile = planned(engine, tool, engine.sizes).profile
    usual = planned(engine, tool, Sizes()).profile
    assert without_sizes(profile) == without_sizes(usual)
    assert (profile == usual) == (engine.sizes == Sizes())
    limits, own = profile.limits, engine.sizes
    assert (limits.tasks, limits.open_files, limits.scratch_bytes) == (own.tasks, own.open_files, own.scratch_bytes)
    assert limits.memory_bytes == own.memory_bytes + limits.model_bytes * (1 + own.model_copies)


def depends_on_the_engine(attempt, engine):
    """Whether it is tried in every run: what every other engine of this confinement is tried with is not."""
    left = getattr(ROOMS[attempt.room], "LEFT_TO_A_SERVER", ())
    return attempt.name in ON_SIZES or attempt.room == "model" or (engine.tree is not None and attempt.name in left)


@pytest.mark.parametrize(("name", "tool"), TRIED)
async def test_no_engine_gets_out_of_its_own_sandbox(engines, name, tool):
    engine = engines[name]
    plan_of_it = planned(engine, tool, engine.sizes)
    on_model = plan_of_it.profile.limits.model_bytes > 0
    chosen = [one for one in attempts(on_model=on_model) if EVERY or depends_on_the_engine(one, engine)]
    assert {one.name for one in chosen} >= ON_SIZES
    with traversable_folder() as folder:
        (folder / "run").rmdir()
        outcomes = [outcome async for outcome in try_all(plan_of_it, folder, chosen)]
    assert [one for one in outcomes if not one.held] == []
    assert all(one.verdict in ("denied", "ended") for one in outcomes if one.name in ON_SIZES)
