"""The environment that users install, `cloister[node]`, over this tree's code and the running environment's libraries.

What services measure is everything that they could import: with the development's tools among it, each start would hash
four times as many files, and show what no user has.
"""

import atexit
import functools
import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from tests.doubles.command_line import SOURCE

EXTRAS = ("node", "postgres")


@functools.cache
def users_environment():
    """One for this process: a folder `commands` with `cloister` alone, which runs in the environment `venv`."""
    folder = Path(tempfile.mkdtemp(prefix="cloister-node-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    make_environment(folder / "venv", SOURCE, link_libraries(folder / "site-packages"))
    program = folder / "commands" / "cloister"
    program.parent.mkdir()
    interpreter = f"{folder}/venv/bin/python"
    program.write_text(f"#!{interpreter}\nimport sys\nfrom cloister.cli.main import main\nsys.exit(main())\n")
    program.chmod(0o755)
    return folder


def make_environment(folder, source, libraries, *, interpreter=sys.executable):
    """A virtual environment in `folder` whose modules are those of `source` and `libraries`."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", str(folder)], check=True)
    library = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (library / "tree.pth").write_text(f"{source}\n{libraries}\n")
    (folder / "engines").symlink_to(Path(sys.prefix) / "engines")


def link_libraries(folder, *, copied=()):
    """Links in `folder` to all that `cloister[node]` needs, and copies of the packages that a test changes."""
    running = Path(sysconfig.get_path("purelib"))
    folder.mkdir()
    for name in sorted(_entries()):
        if name in copied:
            shutil.copytree(running / name, folder / name)
        elif (running / name).exists():
            (folder / name).symlink_to(running / name)
    return folder


@functools.cache
def _entries():
    """The names in the running environment's library of what belongs to `cloister[node]` and to what it needs."""
    known, queue = {}, [("cloister", frozenset(EXTRAS))]
    while queue:
        name, extras = queue.pop()
        if (name, extras) in known:
            continue
        distribution = importlib.metadata.distribution(name)
        known[name, extras] = {file.parts[0] for file in distribution.files or () if file.suffix != ".pth"}
        needed = map(Requirement, distribution.requires or ())
        applying = (one for one in needed if any(_applies(one, extra) for extra in extras or {""}))
        queue += [(one.name, frozenset(one.extras)) for one in applying]
    return set().union(*known.values()) - {"..", "__pycache__"}


def _applies(requirement, extra):
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
