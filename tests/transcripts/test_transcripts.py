"""What people read: each transcript is run again and must come out as it stands, letter by letter.

A file holds commands, each after `$ `, what they print (errors, too), and their exit code. `{home}` stands for the
empty home that they run in. To write them anew: CLOISTER_RECORD=1 pytest tests/transcripts
"""

import os
import re
from pathlib import Path

import pytest
from tests.doubles.command_line import cloister_command

FOLDER = Path(__file__).parent
COMMAND = re.compile(r"^\$ cloister ?(.*)$", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
async def test_the_command_line_says_what_the_transcript_says(path, tmp_path):
    written = path.read_text()
    said = [await transcript(command, tmp_path) for command in COMMAND.findall(written)]
    if os.environ.get("CLOISTER_RECORD"):
        path.write_text("\n".join(said))
    assert "\n".join(said) == path.read_text()


async def transcript(command, home):
    ran = await cloister_command(*command.split(), home=home)
    said = (ran.out + ran.err).replace(str(home), "{home}")
    assert "Traceback" not in said
    return f"$ cloister {command}".rstrip() + f"\n{said}[exit {ran.code}]\n"
