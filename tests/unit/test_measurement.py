"""The workload measurement changes with anything that could run, and with nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloister.crypto.cose import open1
from cloister.crypto.signing import SigningKey
from cloister.formats.evidence import SOFTWARE_REPORT_TYPE, parse_software_report
from cloister.tee.closure import ClosureRefused, files, list_closure, mapped, roots, shared_objects
from cloister.tee.launch import NO_BYTECODE, loads_no_bytecode, measured_python
from cloister.tee.measurement import MeasurementRefused, measure, measure_this_process
from cloister.tee.software import PLATFORM_MEASUREMENT, SoftwareTee


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / "place" / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("answer = 42\n")
    (package / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"bytecode")
    (tmp_path / "place" / "data.json").write_text("{}")
    return tmp_path / "place"


def workload(root, extra=None):
    return measure(dict(files("source", root)), extra or {}).workload


def one_byte(tree):
    (tree / "package" / "__init__.py").write_text("answer = 43\n")


def a_stray_module(tree):
    (tree / "sitecustomize.py").write_text("")


def a_path_file(tree):
    (tree / "more.pth").write_text("import os\n")


def a_module_without_source(tree):
    (tree / "package" / "hidden.pyc").write_bytes(b"bytecode")


def a_data_file(tree):
    (tree / "data.json").write_text("[]")


def a_file_removed(tree):
    (tree / "data.json").unlink()


def a_file_renamed(tree):
    (tree / "data.json").rename(tree / "atad.json")


def a_link_to_elsewhere(tree):
    (tree / "linked").symlink_to("/usr/include/asm-generic" if Path("/usr/include/asm-generic").exists() else "/etc")


@pytest.mark.parametrize(
    "change",
    [
        one_byte,
        a_stray_module,
        a_path_file,
        a_module_without_source,
        a_data_file,
        a_file_removed,
        a_file_renamed,
        a_link_to_elsewhere,
    ],
)
def test_anything_that_could_run_changes_the_measurement(tree, change):
    before = workload(tree)
    change(tree)
    assert workload(tree) != before


def test_bytecode_that_is_never_loaded_does_not(tree):
    before = workload(tree)
    (tree / "package" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"other bytecode")
    assert workload(tree) == before


@pytest.mark.parametrize(("closed", "code"), [("__pycache__", 0), ("parts", 1)])
def test_a_folder_closed_to_this_user_is_passed_over_only_where_it_holds_bytecode(tree, closed, code):
    (tree / "package" / "parts").mkdir()
    (tree / "package" / closed).chmod(0o000)
    assert listed_by_an_ordinary_user(tree).returncode == code


def listed_by_an_ordinary_user(tree):
    """The walk in a process without root's power over permissions, with the tree as its working directory."""
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from cloister.tee.closure import files
if os.geteuid() == 0:
    os.seteuid(54321)
assert [name for name, _ in files("source", Path())] == ["source/data.json", "source/package/__init__.py"]
"""
    return subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, check=False)


def test_nor_does_the_place_where_the_files_lie(tree):
    before = workload(tree)
    assert workload(tree.rename(tree.parent / "elsewhere")) == before


def test_a_loop_of_links_ends(tree):
    (tree / "package" / "loop").symlink_to(tree)
    assert workload(tree)


def test_further_digests_are_part_of_it(tree):
    assert workload(tree, {"sandbox": bytes(32)}) != workload(tree, {"sandbox": b"\1" * 32}) != workload(tree)


def test_what_changed_is_named(tree):
    before = dict(measure(dict(files("source", tree)), {}).manifest)
    one_byte(tree)
    a_stray_module(tree)
    changed = measure(dict(files("source", tree)), {}).differences(before)
    assert changed == ["source/package/__init__.py", "source/sitecustomize.py"]


def test_an_archive_on_the_path_is_measured_as_a_file(tree):
    archive = tree / "more.zip"
    archive.write_bytes(b"archive")
    assert dict(files("source", archive)) == {"source": archive}


def test_an_entry_inside_another_is_covered_by_it(tree):
    assert roots([str(tree), str(tree / "package"), str(tree), "/nonexistent"]) == {"source": tree}


def test_every_entry_has_a_name_of_its_own(tmp_path):
    places = [tmp_path / name for name in "abc"]
    for place in places:
        place.mkdir()
    assert list(roots(map(str, places))) == ["source", "source-2", "source-3"]


def test_the_systems_shared_objects_are_found_through_each_other():
    found = shared_objects([Path(sys.executable).resolve()], frozenset())
    assert found["libc.so.6"]
    assert any(name.startswith("ld-linux") for name in found)


def test_a_shared_object_that_is_not_there_is_named_and_one_that_a_package_brings_is_not_looked_for(tmp_path):
    assert shared_objects([], frozenset()) == {}
    assert "libc.so.6" not in shared_objects([Path(sys.executable).resolve()], frozenset({"libc.so.6"}))


def test_a_broken_shared_object_is_refused_by_name(tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF and no more")
    with pytest.raises(ClosureRefused, match=r"broken\.so"):
        shared_objects([broken], frozenset())


def test_this_interpreter_and_what_is_mapped_are_in_the_closure():
    closure = list_closure(sys.path, Path(sys.executable))
    assert closure["interpreter"] == Path(sys.executable).resolve()
    assert "stdlib/os.py" in closure
    assert Path(sys.executable).resolve() in mapped()


def test_a_process_that_may_have_loaded_bytecode_refuses_to_measure_itself():
    assert not loads_no_bytecode()
    with pytest.raises(MeasurementRefused, match="bytecode"):
        measure_this_process({})


SOURCE = str(Path("src").resolve())
FROM_HERE = f"import sys; sys.path.insert(0, {SOURCE!r})"
PRINTED = "print(measure_this_process({}).workload.hex())"
MEASURE = f"{FROM_HERE}; from cloister.tee.measurement import measure_this_process; {PRINTED}"


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_two_processes_measure_the_same():
    runs = [run([*measured_python(), "-c", MEASURE]) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 96


def test_a_process_with_a_foreign_library_mapped_refuses_to_measure_itself(tmp_path):
    library = shared_objects([Path(sys.executable).resolve()], frozenset())["libm.so.6"]
    assert library
    copy = tmp_path / "foreign.so"
    copy.write_bytes(library.read_bytes())
    script = f"import ctypes; ctypes.CDLL({str(copy)!r}); {MEASURE}"
    refused = run([*measured_python(), "-c", script])
    assert refused.returncode != 0
    assert "foreign.so runs here and is no part of the closure" in refused.stderr


def test_measured_processes_start_isolated_and_without_bytecode():
    shown = run([*measured_python(), "-c", "import sys; print(sys.flags.isolated, sys.dont_write_bytecode)"])
    assert shown.stdout.split() == ["1", "True"]
    assert not Path(NO_BYTECODE).exists()


def test_the_software_tee_signs_what_was_measured():
    key = SigningKey.generate()
    tee = SoftwareTee(key, b"w" * 48)
    report = parse_software_report(
        open1(tee.collect(b"r" * 64, challenge=bytes(32)).report, public=key.public, content_type=SOFTWARE_REPORT_TYPE)
    )
    assert (tee.platform, report.workload, report.report_data) == ("software", b"w" * 48, b"r" * 64)
    assert report.platform_measurement == PLATFORM_MEASUREMENT
