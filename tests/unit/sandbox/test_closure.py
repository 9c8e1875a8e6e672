import importlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
from tests.doubles.distributions import distribution
from tests.doubles.sandboxes import FAULTY, traversable_folder

from cloister.sandbox.closure import ECHO, SPEECH, Engine, stage
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.requirements import NotInstalled, required


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return tmp_path


def test_all_that_is_required_comes_along_once(installed):
    distribution(installed, "one", "Two_Words>=3", "three[more]; python_version>'3'")
    distribution(installed, "two-words", "one")
    distribution(installed, "three", "four; extra=='more'", "five; extra=='less'", "six; sys_platform=='win32'")
    distribution(installed, "four")
    assert required(["one"], sys.path) == {"one", "two-words", "three", "four"}
    assert required(["three"], sys.path) == {"three"}


def test_an_extra_that_is_asked_for_later_is_followed_all_the_same(installed):
    distribution(installed, "one", "two", "three")
    distribution(installed, "two", "four; extra=='more'")
    distribution(installed, "three", "two[more]")
    distribution(installed, "four")
    assert required(["one"], sys.path) == {"one", "two", "three", "four"}


def test_an_extra_may_ask_for_another_of_its_own_distribution(installed):
    distribution(installed, "one", "one[some]; extra=='all'", "two; extra=='some'")
    distribution(installed, "two")
    assert required(["one[all]"], sys.path) == {"one", "two"}


def test_what_is_required_and_not_installed_is_named(installed):
    distribution(installed, "one", "nowhere-to-be-found")
    with pytest.raises(NotInstalled, match="nowhere-to-be-found"):
        required(["one"], sys.path)


def test_the_engines_of_the_house_have_just_what_they_import():
    assert SPEECH.staged_distributions == ("av", "httptools", "pocketsphinx", "python-multipart")
    assert ECHO.staged_distributions == ("httptools", "python-multipart")


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "server").write_text("#!/bin/sh\n")
    (folder / "bin" / "again").symlink_to("server")
    return folder


def test_somebody_elses_software_is_staged_measured_and_may_be_started(tree):
    engine = Engine("x", FAULTY.program, tree=tree)
    with traversable_folder() as folder:
        before = stage(engine, folder)
        for name in ("server", "again"):
            staged = before.folder / "upstream" / "bin" / name
            assert (staged.read_text(), staged.is_symlink(), staged.stat().st_mode & 0o777) == (
                "#!/bin/sh\n",
                False,
                0o555,
            )
        (tree / "bin" / "server").write_text("#!/bin/sh\nexit\n")
        assert stage(engine, folder).digest != before.digest != stage(Engine("x", FAULTY.program), folder).digest


@pytest.mark.parametrize("target", ["bin", "/nonexistent"])
def test_a_link_that_leads_to_no_file_is_refused(tree, target):
    (tree / "link").symlink_to(target)
    with pytest.raises(SandboxUnavailable, match="link is neither a file nor a folder"):
        stage(Engine("x", FAULTY.program, tree=tree), tree.parent / "stage")


def staged_apart(tree, folder):
    """As `stage`, by a process that ends: what one uses that runs is not pruned."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(stage, Engine("x", FAULTY.program, tree=tree), folder).result()


def test_engines_share_the_files_that_they_have_in_common_until_none_has_them(tree):
    with traversable_folder() as folder:
        first = staged_apart(tree, folder)
        (tree / "bin" / "more").write_text("more")
        second = staged_apart(tree, folder)
        common = [one.folder / "upstream" / "bin" / "server" for one in (first, second)]
        assert common[0].samefile(common[1])
        assert common[0].stat().st_mode & 0o777 == 0o555
        kept = len(list((folder / "files").iterdir()))
        for number in range(4):  # four are kept
            (tree / "bin" / "more").write_text(str(number))
            staged_apart(tree, folder)
        assert not first.folder.exists()
        assert len(list((folder / "files").iterdir())) == kept + 4 - 1  # "more" is no more


def test_the_same_content_is_executable_in_the_tree_alone(tree):
    (tree / "bin" / "server").write_bytes(FAULTY.program.read_bytes())
    with traversable_folder() as folder:
        staged = stage(Engine("x", FAULTY.program, tree=tree), folder).folder
        modes = [
            (staged / name).stat().st_mode & 0o777 for name in ("packages/faulty_engine.py", "upstream/bin/server")
        ]
        assert modes == [0o444, 0o555]


def test_what_only_a_compiler_reads_is_staged_for_servers_alone(installed):
    distribution(installed, "one")
    (installed / "one.pyi").write_text("")
    (installed / "one.py").write_text("")
    (installed / "one-1.dist-info" / "RECORD").write_text("one.pyi,,\none.py,,\n")
    with traversable_folder() as folder:
        worker = stage(Engine("x", FAULTY.program, ("one",)), folder).folder / "packages"
        server = stage(Engine("x", FAULTY.program, ("one",), confinement="server"), folder).folder / "packages"
        assert [(packages / "one.py").exists() for packages in (worker, server)] == [True, True]
        assert [(packages / "one.pyi").exists() for packages in (worker, server)] == [False, True]
