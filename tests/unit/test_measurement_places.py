import subprocess
import sys
from pathlib import Path

import pytest

from cloister.tee.closure import files
from cloister.tee.launch import measured_python
from cloister.tee.measurement import measure

SOURCE = str(Path("src").resolve())
MEASURE = (
    f"import sys; sys.path.insert(0, {SOURCE!r}); "
    "from cloister.tee.measurement import measure_this_process; measure_this_process({})"
)


def environment(folder, checkout, *, row="code.py,sha256=abc,3"):
    """An editable installation of `checkout`, as pip leaves it."""
    folder = folder / "site-packages"
    about = folder / "thing-1.dist-info"
    about.mkdir(parents=True)
    (folder / "thing.pth").write_text(f"{checkout}\nimport os\n")
    (about / "direct_url.json").write_text(f'{{"url": "file://{checkout}"}}')
    rows = ["../../../bin/thing,sha256=x,1", "thing.pth,sha256=y,2", "__pycache__/code.cpython-311.pyc,,", row]
    (about / "RECORD").write_text("\n".join(rows))
    return measure(dict(files("site-packages", folder)), {})


def test_two_checkouts_with_equal_contents_measure_equal(tmp_path):
    here = environment(tmp_path / "a", "/home/one/checkout")
    assert here == environment(tmp_path / "b", "/srv/another")


@pytest.mark.parametrize("line", ["import evil\n", "relative/folder\n", "/another/place\n"])
def test_a_line_more_in_a_path_file_is_another_measurement(tmp_path, line):
    before = environment(tmp_path / "a", "/home/one/checkout").workload
    environment(tmp_path / "b", "/home/one/checkout")
    with (tmp_path / "b" / "site-packages" / "thing.pth").open("a") as file:
        file.write(line)
    assert measure(dict(files("site-packages", tmp_path / "b" / "site-packages")), {}).workload != before


def test_a_model_that_ends_like_a_path_file_is_measured_as_it_is(tmp_path):
    (tmp_path / "model.pth").write_text("/one\n")
    before = measure(dict(files("site-packages", tmp_path)), {}).workload
    (tmp_path / "model.pth").write_text("/two\n")
    assert measure(dict(files("site-packages", tmp_path)), {}).workload != before


def test_another_row_of_a_record_is_another_measurement(tmp_path):
    before = environment(tmp_path / "a", "/one").workload
    assert environment(tmp_path / "b", "/one", row="code.py,sha256=xyz,3").workload != before


def test_a_file_called_record_elsewhere_is_measured_as_it_is(tmp_path):
    (tmp_path / "RECORD").write_text("../a\n")
    before = measure(dict(files("site-packages", tmp_path)), {}).workload
    (tmp_path / "RECORD").write_text("../b\n")
    assert measure(dict(files("site-packages", tmp_path)), {}).workload != before


@pytest.mark.parametrize(
    "variable", ["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES"]
)
def test_a_process_told_to_load_other_code_refuses_to_measure_itself(variable):
    command = [*measured_python(sys.executable), "-c", MEASURE]
    refused = subprocess.run(command, capture_output=True, text=True, env={variable: ""}, check=False, timeout=60)
    assert refused.returncode != 0
    assert f"{variable} can load other code: unset it" in refused.stderr
