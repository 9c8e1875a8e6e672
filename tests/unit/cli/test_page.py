from scripts.command_line_page import PAGE, page


def test_the_page_of_the_command_line_is_what_the_commands_say():
    assert PAGE.read_text() == page(), "make docs"
