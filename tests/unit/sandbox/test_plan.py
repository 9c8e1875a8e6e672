import json
import os
import shutil
import subprocess
import sys

import pytest
from tests.doubles.sandbox_launcher import ROOT
from tests.doubles.sandboxes import traversable_folder

from cloister.sandbox.closure import ECHO, SPEECH, Engine, model_digest, staging_folder
from cloister.sandbox.plan import plan, plan_for
from cloister.sandbox.sizes import Sizes


def test_where_user_namespaces_are_refused_nothing_is_planned_and_the_reason_is_said():
    code = f"""
import sys; sys.path[:0] = {json.dumps(sys.path)}
from cloister.sandbox.plan import plan
from cloister.sandbox.errors import SandboxUnavailable
try:
    plan()
except SandboxUnavailable as error:
    sys.stdout.write(str(error))
"""
    refusing = ["bwrap", "--unshare-user", "--disable-userns", "--uid", "1000", "--dev-bind", "/", "/", "--"]
    command = [*refusing, sys.executable, "-I", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("this machine cannot hold the sandbox"), done.stderr
    assert "Creating new namespace failed" in done.stdout


@pytest.mark.parametrize(
    "name", ["bwrap", pytest.param("setpriv", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root drops"))]
)
def test_another_byte_in_a_program_that_starts_the_engine_is_another_digest(name):
    usual = "/usr/bin:/bin"
    program = shutil.which(name, path=usual)
    with traversable_folder() as folder:
        copy = folder / name
        shutil.copy(program, copy)
        search = f"{folder}:{usual}"
        same = plan(search=search)
        assert str(copy) in same.starter
        with copy.open("ab") as file:
            file.write(b"\0")
        assert same.profile.digest == plan(search=usual).profile.digest != plan(search=search).profile.digest


def test_every_program_that_starts_the_engine_is_in_the_profile():
    profile = plan().profile
    names = [starter.name for starter in profile.starters]
    entering = [] if profile.limits.held_by == "rlimits" else ["sh", "env"]
    assert names == [*entering, *(["setpriv"] if profile.user == "dropped" else []), "bwrap"]


@pytest.mark.parametrize("size", ["memory_bytes", "tasks", "open_files", "scratch_bytes", "model_bytes"])
def test_other_sizes_are_another_profile(size):
    assert plan(Sizes(**{size: 99})).profile.digest != plan().profile.digest


def test_every_confinement_is_another_profile():
    digests = {plan(confinement=confinement).profile.digest for confinement in ("worker", "server", "loopback")}
    assert len(digests) == 3


def test_an_engine_and_its_model_say_what_is_planned():
    engine = Engine("x", ECHO.program, confinement="server", sizes=Sizes(tasks=99))
    profile = plan_for(engine, [("weights", 2**21)]).profile
    assert (profile.confinement, profile.limits.tasks, profile.limits.model_bytes) == ("server", 99, 2**21)
    assert profile.limits.memory_bytes == Sizes().memory_bytes + 2**21
    assert plan_for(ECHO).profile.digest == plan().profile.digest


def test_the_speech_model_has_a_digest_and_an_engine_without_one_another():
    assert len(model_digest(SPEECH)) == 32
    assert model_digest(SPEECH) == model_digest(SPEECH) != model_digest(ECHO)


@pytest.mark.parametrize(("mode", "below"), [(0o755, True), (0o700, False)])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a sandbox user of its own")
def test_root_stages_where_its_sandbox_user_can_go(mode, below):
    with traversable_folder() as folder:
        folder.chmod(mode)
        assert (staging_folder(folder / "state") == folder / "state" / "stage") is below
