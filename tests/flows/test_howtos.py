"""Every how-to page, followed from the top to the end: no command in them is read only."""

import shutil
from pathlib import Path

import pytest
from tests.doubles.howto import blocks, follow, matches, missing, steps
from tests.doubles.tiny_models import tiny_model
from tests.speech import SENTENCES, spoken

HOWTOS = sorted((Path(__file__).parents[2] / "docs" / "howto").glob("*.md"))
PAGES = [page for page in HOWTOS if list(steps(page.read_text()))]  # the others are tables and prose


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_every_command_of_the_page_does_what_the_page_says(page, tmp_path):
    if lacking := missing(page.read_text()):
        pytest.skip(f"the page needs {', '.join(lacking)}")
    (tmp_path / "speech.wav").write_bytes(spoken(SENTENCES[0], "slt", tmp_path))
    (tmp_path / "spoken.wav").unlink()
    (tmp_path / "cloister").symlink_to(PAGES[0].parents[2])  # where pages have the clone of the repository
    if "python cloister/scripts/tiny_models.py models llama" in page.read_text():
        shutil.copytree(tiny_model("llama"), tmp_path / "models" / "llama")
    await follow(page, tmp_path)


async def test_a_command_that_fails_is_named_with_its_line_and_its_words(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\ntrue\n```\n\n```sh\necho words; false\n```\n\n```sh\ntrue\n```\n")
    with pytest.raises(AssertionError, match=r"line 6: echo words; false\nfailed:\nwords"):
        await follow(page, tmp_path)


async def test_other_output_than_the_pages_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\none\n$ echo two\nthree\n```\n")
    with pytest.raises(AssertionError, match=r"line 4: echo two\nprinted:\ntwo\ninstead of:\nthree"):
        await follow(page, tmp_path)


async def test_what_a_page_leaves_running_is_ended_and_variables_carry_over(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nsleep 600 &\nown=$!\n```\n\n```sh\nkill -0 $own\necho $own >own\n```\n")
    await follow(page, tmp_path)
    assert not (Path("/proc") / (tmp_path / "own").read_text().strip()).exists()


async def test_a_block_with_a_name_is_a_file_that_the_page_can_use(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python ask.py\nprint('asked')\n```\n\n```console\n$ python ask.py\nasked\n```\n")
    await follow(page, tmp_path)


def test_a_page_names_the_programs_that_it_needs():
    assert missing("# Title\n<!-- needs: sh no-such-program -->\n") == ["no-such-program"]
    assert missing("# Title\n") == []


def test_a_block_without_a_language_is_an_error():
    with pytest.raises(AssertionError, match="line 2: say the block's language"):
        blocks("```\ncloister up\n```\n")


def test_three_dots_stand_for_anything_within_a_line_or_for_lines():
    (step,) = steps("```console\n$ cloister status\nready at …/v1\n…\nend\n```\n")
    assert matches(step.prints, "ready at http://x/v1\na\nb\nend\n")
    assert not matches(step.prints, "ready at http://x/v2\na\nend\n")
