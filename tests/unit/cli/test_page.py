import subprocess
import sys

from scripts.command_line_page import PAGE


def test_the_page_of_the_command_line_is_what_the_commands_say():
    # in a process of its own: a command that a test ran without its parent keeps the options that it then had
    command = [sys.executable, "-m", "scripts.command_line_page"]
    made = subprocess.run(command, cwd=PAGE.parents[1], capture_output=True, check=False)
    assert (made.returncode, made.stderr) == (0, b"")
