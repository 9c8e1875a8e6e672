import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.unit.sandbox.test_profile import LIMITS

from cloister.sandbox.cgroup import RLIMITS, Parents, find_parents, make, remove_leftovers


@pytest.fixture
def unified(tmp_path):
    """A version 2 tree as systemd lays it out: the session's own group delegates nothing, its slice does."""
    own = tmp_path / "user.slice" / "app.slice" / "session.scope"
    own.mkdir(parents=True)
    for folder, delegated in ((own, ""), (own.parent, "cpu memory pids"), (own.parent.parent, "memory pids")):
        (folder / "cgroup.subtree_control").write_text(delegated)
    return tmp_path


def test_version_2_gives_the_nearest_group_that_delegates_memory_and_tasks(unified):
    parents = find_parents(membership="0::/user.slice/app.slice/session.scope\n", mount=unified)
    assert parents == Parents("cgroup-v2", (unified / "user.slice" / "app.slice",))


def test_where_nothing_is_delegated_or_writable_rlimits_hold(unified):
    (unified / "user.slice" / "app.slice" / "cgroup.subtree_control").write_text("cpu")
    (unified / "user.slice" / "cgroup.subtree_control").write_text("memory")
    assert find_parents(membership="0::/user.slice/app.slice/session.scope\n", mount=unified) == RLIMITS
    assert find_parents(membership="4:memory:/nowhere\n8:pids:/\n0::/\n", mount=unified) == RLIMITS
    assert find_parents(membership="", mount=unified) == RLIMITS


def test_version_1_needs_both_hierarchies(tmp_path):
    for folder in (tmp_path / "memory" / "own", tmp_path / "pids"):
        folder.mkdir(parents=True)
    membership = "8:pids:/\n4:memory:/own\n0::/\n"
    parents = find_parents(membership=membership, mount=tmp_path)
    assert parents == Parents("cgroup-v1", (tmp_path / "memory" / "own", tmp_path / "pids"))


def test_a_group_of_version_2_holds_memory_swap_and_tasks(unified):
    parent = unified / "user.slice" / "app.slice"
    group = make(Parents("cgroup-v2", (parent,)), LIMITS)
    (folder,) = group.folders
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {"memory.max": "1", "memory.swap.max": "0", "pids.max": "2"}
    assert group.entries == (folder / "cgroup.procs",)
    assert not group.killed_for_memory()
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.killed_for_memory()


def test_a_process_outside_of_our_namespace_is_no_number_to_kill(unified):
    group = make(Parents("cgroup-v2", (unified / "user.slice" / "app.slice",)), LIMITS)
    (entry,) = group.entries
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    entry.write_text(f"0\n{sleeper.pid}\n")
    group.kill()  # 0 would be this process and its group
    assert sleeper.wait(10) == -signal.SIGKILL


def test_what_a_dead_launcher_left_is_removed_and_what_a_live_one_uses_is_not(tmp_path):
    mine, dead = tmp_path / f"cloister-{os.getpid()}-a", tmp_path / "cloister-4194999-b"
    mine.mkdir()
    dead.mkdir()
    remove_leftovers(Parents("cgroup-v2", (tmp_path,)))
    assert mine.exists()
    assert not dead.exists()


def test_this_process_membership_is_read_where_none_is_given():
    assert find_parents() == find_parents(membership=Path("/proc/self/cgroup").read_text())
