"""`cloister engine`: pip installs an engine's libraries, and what was there goes only when the new ones are whole."""

import fcntl
import json
import sys

import pytest
from tests.doubles.distributions import Prefix, distribution, source, wheel

from cloister.cli.main import run

INSTALL = ("engine", "install", "transformers")


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An environment whose Cloister wants `tiny` for the engine `transformers`, and a folder of wheels for pip."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    told = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": "/dev/null"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return Prefix(tmp_path, monkeypatch, "tiny; extra == 'transformers'")


@pytest.fixture
def cloister(monkeypatch, capfd):
    """Run `cloister` in this process: its exit code, and all that it and pip said."""

    def ran(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloister", *arguments])
        capfd.readouterr()
        code = run()
        return code, "".join(capfd.readouterr())

    return ran


def entry(cloister, name):
    code, said = cloister("engine", "list", "--json")
    assert code == 0
    return next(one for one in json.loads(said) if one["name"] == name)


def test_pip_installs_it_once_into_a_folder_of_its_own_that_list_names(prefix, cloister):
    wheel(prefix.folder / "wheels", "tiny", "1")
    assert entry(cloister, "transformers")["lacks"] == ["tiny"]
    code, said = cloister(*INSTALL)
    assert (code, "Successfully installed tiny-1" in said) == (0, True)
    assert (prefix.own("transformers") / "tiny.py").read_text() == "version = '1'\n"
    assert not (prefix.services / "tiny.py").exists()
    assert entry(cloister, "transformers")["lacks"] == []
    assert entry(cloister, "transformers")["folder"] == str(prefix.own("transformers"))
    assert cloister(*INSTALL) == (0, f"transformers: is installed in {prefix.own('transformers')}\n")


@pytest.mark.parametrize("how", ["upgrade", "another version is wanted"])
def test_the_new_takes_the_place_of_the_old(prefix, cloister, how):
    distribution(prefix.own("transformers"), "tiny", version="0.9", files={"old.py": ""})
    wheel(prefix.folder / "wheels", "tiny", "1")
    if how == "upgrade":
        assert cloister(*INSTALL, "--upgrade")[0] == 0
    else:
        prefix.wants("tiny>=1; extra == 'transformers'")
        assert cloister(*INSTALL)[0] == 0
    there = {path.name for path in prefix.own("transformers").iterdir()}
    assert there == {"tiny.py", "tiny-1.dist-info", "bin"}


def test_where_pip_fails_the_old_stays_and_nothing_is_left_over(prefix, cloister):
    distribution(prefix.own("transformers"), "tiny", version="0.9", files={"old.py": ""})
    prefix.wants("tiny>=1; extra == 'transformers'")
    (prefix.folder / "engines" / "unfinished-of-a-run-that-was-killed").mkdir()
    code, said = cloister(*INSTALL)
    assert code == 4
    assert "No matching distribution found for tiny>=1" in said
    assert f"cloister: pip ended with 1 and says above why; {prefix.own('transformers')} is as it was" in said
    assert (prefix.own("transformers") / "old.py").exists()
    assert {path.name for path in (prefix.folder / "engines").iterdir()} == {"transformers", ".lock"}


@pytest.mark.parametrize("configured", ["", ":all:"])
def test_of_a_source_distribution_no_code_runs(prefix, cloister, monkeypatch, configured):
    monkeypatch.setenv("PIP_NO_BINARY", configured)
    source(prefix.folder / "wheels", "tiny", "1", prefix.folder / "ran")
    code, said = cloister(*INSTALL)
    assert (code, (prefix.folder / "ran").exists()) == (4, False)
    assert "No matching distribution found for tiny" in said
    assert "No source is built" in said
    wheel(prefix.folder / "wheels", "tiny", "0.9")
    assert cloister(*INSTALL)[0] == 0


def test_without_pip_it_says_how_to_get_it(prefix, cloister, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    code, said = cloister(*INSTALL)
    assert code == 1
    assert f"there is no pip in {prefix.folder}: {sys.executable} -m ensurepip" in said


def test_two_at_a_time_are_refused(prefix, cloister):
    (prefix.folder / "engines").mkdir()
    with (prefix.folder / "engines" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = cloister(*INSTALL)
    assert code == 2
    assert "another cloister engine install is at work" in said


def test_an_engine_that_is_none_is_refused_before_anything_is_installed(prefix, cloister):
    code, said = cloister(*INSTALL, "parrot")
    assert code == 2
    assert "cloister: engine 'parrot' is none of speech, " in said
    assert not (prefix.folder / "engines").exists()


def test_engines_of_the_services_need_nothing(prefix, cloister):
    assert cloister("engine", "install", "speech") == (0, "speech: came with the services\n")
    said = entry(cloister, "speech")
    assert said["standing"] == "installed"
    assert said["folder"] == ""
    assert "POST /v1/audio/transcriptions" in said["speaks"]


def test_libraries_of_an_older_cloisters_engine_are_said_to_be_old(prefix, cloister):
    named = ("httptools", "msgspec", "python-multipart", "torch", "transformers")
    for name in named:
        distribution(prefix.own("transformers"), name)
    prefix.wants("torch>=2; extra == 'transformers'")
    assert entry(cloister, "transformers")["standing"] == "old"
    code, said = cloister("engine", "list")
    assert code == 0
    assert "without torch>=2: cloister engine install transformers" in said


def test_libraries_among_those_of_the_services_serve_and_are_said_to_be_there(prefix, cloister):
    for name in ("torch", "transformers"):
        distribution(prefix.services, name)
    assert entry(cloister, "transformers")["standing"] == "with the services"


def damaged(prefix):
    """The libraries of transformers, of one of which a file is gone."""
    for name in ("torch", "transformers"):
        distribution(prefix.own("transformers"), name, files={f"{name}.py": ""})
    (prefix.own("transformers") / "torch.py").unlink()


def test_what_is_damaged_is_said_to_be_and_installed_anew(prefix, cloister):
    prefix.wants("torch; extra == 'transformers'", "transformers; extra == 'transformers'")
    damaged(prefix)
    assert entry(cloister, "transformers")["standing"] == "damaged"
    for name in ("torch", "transformers"):
        wheel(prefix.folder / "wheels", name, "1")
    assert cloister(*INSTALL)[0] == 0
    assert entry(cloister, "transformers")["standing"] == "installed"


def test_what_is_damaged_is_said_before_anything_starts(prefix, cloister):
    damaged(prefix)
    state = prefix.folder / "state"
    code, said = cloister("up", "--engine", "transformers", "--model", str(prefix.folder), "--state", str(state))
    gone = prefix.own("transformers") / "torch.py"
    assert code == 4
    assert f"cloister: torch is damaged, {gone} is missing: cloister engine install transformers\n" in said
    assert not state.exists()
