"""What is shown of texts that others wrote: all of it, as one line, in letters."""

from hypothesis import given
from hypothesis import strategies as st

from mwr_hpc.printable import CONTINUED, printable, printable_lines, printable_traceback


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_has_letters_and_blanks_only(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"])))
def test_letters_of_all_scripts_stay(text: str) -> None:
    assert printable(text) == text


def test_escapes_say_which_character_it_is() -> None:
    assert printable("a\x1b[2J\r\n\t\x7f\x9b") == r"a\x1b[2J\r\n\t\x7f\x9b"
    assert printable("\u202e\u2066\u2028\ufeff\U000e0001\ud800") == r"\u202e\u2066\u2028\ufeff\U000e0001\ud800"
    assert printable(b"caf\xe9".decode(errors="surrogateescape")) == r"caf\xe9"
    assert printable(12) == "12"


def test_a_further_line_does_not_pass_for_one_of_the_program() -> None:
    assert printable_lines("bad.mrc: no\nDone: all\r") == f"bad.mrc: no\n{CONTINUED}Done: all\\r"


def test_a_traceback_keeps_its_lines_and_escapes_its_messages() -> None:
    try:
        try:
            raise ValueError("first\nTraceback (forged)\x1b[2J")
        except ValueError as cause:
            raise RuntimeError("a\rb") from cause
    except RuntimeError as error:
        lines = printable_traceback(error).split("\n")
    assert lines[0] == "Traceback (most recent call last):" and '    raise RuntimeError("a\\rb") from cause' in lines
    assert r"RuntimeError: a\rb" in lines and "ValueError: first" in lines
    assert f"{CONTINUED}Traceback (forged)\\x1b[2J" in lines
    assert "The above exception was the direct cause of the following exception:" in lines
