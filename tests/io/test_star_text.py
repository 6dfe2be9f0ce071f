"""Tables of STAR files: blocks of text between semicolons, and that what is written comes back."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwr_hpc.errors import InputError
from mwr_hpc.io.star_text import is_one_value, read_tables, write_table

FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
line = st.text("ab;_ \t#'\"0", max_size=6)
block = st.lists(line.filter(lambda text: text.rstrip() != ";"), min_size=1, max_size=3).map("\n".join)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@given(values=st.lists(st.tuples(*[st.text(max_size=8).filter(is_one_value)] * 2), min_size=1, max_size=4))
@settings(FEW, max_examples=30)
def test_values_come_back(tmp_path: Path, values: list[tuple[str, str]]) -> None:
    first, second = (list(column) for column in zip(*values, strict=True))
    write_table(tmp_path / "a.star", {"a": first, "b": second})
    (table,) = read_tables(tmp_path / "a.star")
    assert table.columns == {"a": [text or "None" for text in first], "b": [text or "None" for text in second]}


@given(rows=st.lists(st.tuples(block, block), min_size=1, max_size=3), place=st.integers(0, 2), end=st.booleans())
@FEW
def test_blocks_of_text_in_rows_and_items(tmp_path: Path, rows: list[tuple[str, str]], place: int, end: bool) -> None:
    """Wherever in a row they stand, and whatever they hold; their rows go on behind them."""
    item = "data_item\n_note\n;about\ndata_nothing\n;\n_after 1\n"
    text = item + "data_loop\nloop_\n_x\n_y\n_z\n"
    for one, other in rows:
        words = ["1", "2", "3"]
        words[place] = f"\n;{one}\n;\n"
        words[(place + 1) % 3] = f"\n;{other}\n;\n"
        text += " ".join(words).strip("\n") + "\n"
    items, table = read_tables(written(tmp_path / "a.star", text.replace("\n ", "\n").rstrip("\n") + "\n" * end))
    assert items.columns == {"note": ["about\ndata_nothing"], "after": ["1"]}
    columns = list(table.columns.values())
    stripped = [(one.replace("\n ", "\n").strip("\n"), other.replace("\n ", "\n").strip("\n")) for one, other in rows]
    assert list(zip(columns[place], columns[(place + 1) % 3], strict=True)) == stripped
    assert columns[(place + 2) % 3] == [str((place + 2) % 3 + 1)] * len(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_\nloop_\n_a\n_b\n1\n;text\n", "line 6 begins a block of text with a semicolon, which no line"),
        ("data_\nloop_\n_a\n_b\n;text\n;\n", "line 5 has 1 values, expected 2"),
        ("data_\nloop_\n_a\n_b\n;text\n;\n1 2\n", "line 5 has 3 values, expected 2"),
        ("data_\nloop_\n_a\n_b\n;text\n;\ndata_next\n", "line 5 has 1 values, expected 2"),
        ("data_\n_a 1\n;text\n;\n", "line 3 has 1 values, outside any table"),
        (";text\n;\n", "not a STAR file: line 1"),
    ],
)
def test_broken_blocks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tables(written(tmp_path / "a.star", text))


@given(place=st.floats(0, 1), junk=st.text("a;_\n \"'#0l\x85", max_size=5), cut=st.integers(0, 9))
@settings(FEW, max_examples=200)
def test_mutated_tables_are_read_or_refused(tmp_path: Path, place: float, junk: str, cut: int) -> None:
    text = "data_\n_n\n;t\n;\nloop_\n_a\n_b\n1\n;x\n;\n3 4\n"
    at = int(place * len(text))
    try:
        tables = read_tables(written(tmp_path / "a.star", text[:at] + junk + text[at + cut :]))
    except InputError as error:
        assert "a.star" in str(error)
    else:
        assert all(len(values) == len(table.lines) for table in tables for values in table.columns.values())
