"""An engine's distributions are those of its own folder, then those of the services' environment."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.doubles.distributions import Prefix, distribution
from tests.doubles.sandboxes import FAULTY, traversable_folder

from cloister.sandbox.closure import Engine, stage
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.own_libraries import lacking, requirements_of


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An environment whose Cloister wants `one` of version 2 for the engine `whisper`."""
    return Prefix(tmp_path, monkeypatch, "one<3,>=2; extra == 'whisper'", "always>=1", "more; extra == 'other'")


def engine(extra="whisper"):
    return Engine("hears", FAULTY.program, requirements=("one",), extra=extra)


def packages(of):
    """What is staged of a distribution `one`, by name."""
    with traversable_folder() as folder:
        below = stage(of, folder).folder / "packages"
        names = [path for path in below.rglob("*") if path.is_file() and not path.is_relative_to(below / "cloister")]
        return {str(path.relative_to(below)): path.read_text() for path in names if path.name != FAULTY.program.name}


def test_its_own_folder_is_asked_before_the_services(prefix):
    distribution(prefix.services, "one", version="1", files={"one.py": "theirs"})
    assert packages(engine())["one.py"] == "theirs"
    distribution(prefix.own("whisper"), "one", version="2", files={"one.py": "its own"})
    assert packages(engine())["one.py"] == "its own"
    assert packages(engine("node"))["one.py"] == "theirs"
    assert packages(engine("transformers"))["one.py"] == "theirs"


def test_what_its_own_folder_has_not_comes_from_the_services(prefix):
    distribution(prefix.own("whisper"), "one", "two", files={"one.py": "its own"})
    distribution(prefix.services, "two", files={"two.py": "theirs"})
    assert {"one.py": "its own", "two.py": "theirs"}.items() <= packages(engine()).items()


def test_the_same_libraries_have_the_same_digest_whoever_installed_them_and_wherever(prefix):
    of_pip = {"one-1.dist-info/INSTALLER": "pip"}
    of_uv = {"one-1.dist-info/INSTALLER": "uv", "one-1.dist-info/REQUESTED": "", "bin/one": f"#!{prefix.folder}"}
    digests = []
    for extra, told in (("whisper", of_pip), ("transformers", of_uv)):
        distribution(prefix.own(extra), "one", files={"one.py": "1"} | told)
        with traversable_folder() as folder:
            digests.append(stage(engine(extra), folder).digest)
    assert digests[0] == digests[1]


def test_scripts_are_not_staged_wherever_an_installer_says_that_they_lie(prefix):
    beside = {"../../bin/one": "#!/x", "bin/one": "#!/x", "share/man/one.1": "manual"}
    distribution(prefix.own("whisper"), "one", files={"one/bin.py": "1"} | beside)
    assert sorted(packages(engine())) == ["one-1.dist-info/METADATA", "one/bin.py"]


@pytest.mark.parametrize(
    ("extra", "command"),
    [("whisper", "cloister engine install hears"), ("node", r"pip install 'cloister\[node\]'")],
)
def test_what_is_nowhere_is_named_with_the_command_that_installs_it(prefix, extra, command):
    with pytest.raises(SandboxUnavailable, match=rf"^one is not installed: {command}$"):
        stage(engine(extra), prefix.services / "stage")


def test_an_extra_wants_what_it_adds_to_cloister(prefix):
    assert [str(one) for one in requirements_of("whisper")] == ["one<3,>=2"]
    assert requirements_of("node") == []


def test_a_folder_lacks_what_is_not_there_or_of_another_version_or_not_whole(prefix):
    distribution(prefix.services, "one", version="2")
    assert lacking("whisper") == ["one<3,>=2"]
    distribution(prefix.own("whisper"), "one", "two", version="2.1")
    assert lacking("whisper") == ["one<3,>=2"]  # for want of two
    distribution(prefix.own("whisper"), "two")
    assert lacking("whisper") == []
    prefix.wants("one>=3; extra == 'whisper'")
    assert lacking("whisper") == ["one>=3"]


def test_the_services_do_not_see_an_engines_folder():
    said = "from cloister.sandbox.closure import ECHO; print(*ECHO.search_path, sep='\\n')"
    seen = subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout.splitlines()
    assert any("site-packages" in entry for entry in seen)
    assert not any(Path(entry).is_relative_to(Path(sys.prefix, "engines")) for entry in seen)
