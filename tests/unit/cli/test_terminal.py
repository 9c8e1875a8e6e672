import re
import subprocess
import sys

import pytest
from tests.doubles.command_line import cloister_command, environment
from tests.doubles.terminal import at_a_terminal

from cloister.cli.terminal import printable

COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\d")  # SGR 30 to 39: a colour of the foreground


@pytest.mark.parametrize("control", ["\x1b[2J", "\x07", "\x9b2J", "\r", "\x7f", "\u202e"])
def test_what_a_peer_sent_cannot_move_the_cursor_or_turn_the_text_around(control):
    shown = printable(f"before{control}after")
    assert control[0] not in shown
    assert shown.startswith("before\ufffd")


def test_text_and_its_lines_stay_as_they_are():
    assert printable("Grüße, 世界\n\tand more") == "Grüße, 世界\n\tand more"


def test_who_stops_reading_does_not_stop_the_work(tmp_path):
    program = "from cloister.cli.terminal import say\nfor _ in range(99999): say('x')\nopen('done', 'w').close()"
    reader = f'{sys.executable} -c "{program}" | head -n 1'
    subprocess.run(["bash", "-c", reader], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=True)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("command", [("doctor",), ("verify",)], ids=["results", "errors"])
async def test_colours_are_for_terminals_and_never_where_no_color_is_set(command, tmp_path):
    stream = "stdout" if command == ("doctor",) else "stderr"
    assert COLOUR.search(await at_a_terminal(tmp_path, stream, *command, colours=True))
    assert not COLOUR.search(await at_a_terminal(tmp_path, stream, *command))
    piped = await cloister_command(*command, home=tmp_path)
    assert "\x1b" not in piped.out + piped.err
