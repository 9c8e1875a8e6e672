"""Distributions of nothing but what they say of themselves: installed, as wheels, as sources; environments of them."""

import importlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path


def distribution(folder, name, *requires, version="1", files=None):
    """An installed distribution that says what it requires, with its files, by where its RECORD says that they are."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(metadata(name, version, *requires))
    written = files or {}
    for place, text in written.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    (about / "RECORD").write_text("".join(f"{place},,\n" for place in (*written, f"{about.name}/METADATA")))
    importlib.invalidate_caches()


def metadata(name, version, *requires):
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)])


def wheel(folder, name, version):
    """A wheel of one module, which says its version, and of one script."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{about}/METADATA": metadata(name, version),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name} = {name}:version\n",
    }
    record = "".join(f"{place},,\n" for place in (*files, f"{about}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for place, text in (files | {f"{about}/RECORD": record}).items():
            archive.writestr(place, text)


def source(folder, name, version, ran):
    """A source distribution whose build writes the file `ran`, and then fails."""
    top = f"{name}-{version}"
    files = {
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'build'\nbackend-path = ['.']\n",
        "build.py": f"open({str(ran)!r}, 'w').close()\n",
        "PKG-INFO": metadata(name, version),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / f"{top}.tar.gz", "w:gz") as archive:
        for place, text in files.items():
            entry = tarfile.TarInfo(f"{top}/{place}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


class Prefix:
    """An environment of its own for this process: a prefix, and a Cloister in it that requires `wanted`."""

    def __init__(self, folder, monkeypatch, *wanted):
        self.folder = folder
        self.services = folder / "lib" / "site-packages"
        self.services.mkdir(parents=True)
        monkeypatch.setattr(sys, "prefix", str(folder))
        monkeypatch.syspath_prepend(str(self.services))
        distribution(self.services, "cloister", *wanted)

    def wants(self, *wanted):
        """From now on this is what Cloister requires."""
        (self.services / "cloister-1.dist-info" / "METADATA").write_text(metadata("cloister", "1", *wanted))

    def own(self, extra):
        """Where the libraries of an extra's engines are."""
        return Path(self.folder, "engines", extra)
