"""The angles in the files of IMOD, AreTomo and SerialEM, each with the views that the tomogram was made from alone.

- ``.tlt``, ``.rawtlt``: an angle a line, with a point or a comma before the decimals. In a second column stand the
  order of acquisition, the dose or the number of the view.
- ``tilt.com``: IMOD's command file of a reconstruction, which names the file of angles (TILTFILE), what is added to
  them (OFFSET) and the views that take part (INCLUDE, EXCLUDELIST, EXCLUDELIST2).
- ``.aln``: AreTomo's alignment, columns SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT; dark frames have no row.
- ``.mdoc``: SerialEM's notes, a section ``[ZValue = n]`` for each view with its TiltAngle.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mwr_hpc.errors import InputError
from mwr_hpc.io.text import finite, number_of, read_text

SEPARATORS = re.compile(r"[\s;]+")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SECTION = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]")
ALN_COLUMNS = ("SEC", "ROT", "GMAG", "TX", "TY", "SMEAN", "SFIT", "SCALE", "BASE", "TILT")
LOCAL = "# Local Alignment"
VIEW = "ZValue"
ANGLE = "TiltAngle"


def angles_of_lines(path: Path) -> list[float]:
    """Read ``.tlt`` or ``.rawtlt``.

    Raises
    ------
    InputError
        The file cannot be read, a line has no angle, or it is not clear which column has the angles.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(read_text(path, "a file of tilt angles").split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    rows = [_words_of_row(path, number, line, _commas_part_columns(lines)) for number, line in lines]
    widths = {len(row) for row in rows}
    if len(widths) > 1 or widths & set(range(3, max(widths, default=0) + 1)):
        number = next(
            number for (number, _), row in zip(lines, rows, strict=True) if len(row) != len(rows[0]) or len(row) > 2
        )
        raise InputError(
            f"{path}: line {number}: expected one tilt angle a line, or one and its order or dose; give IMOD's .tlt or "
            ".rawtlt"
        )
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns[_column_of_angles(path, columns)] if columns else []


def angles_of_tilt_com(path: Path) -> list[float]:
    """Read IMOD's ``tilt.com``, and the file of angles that it names.

    Raises
    ------
    InputError
        One of them cannot be read, or a view is excluded that is not there.
    """
    entries: dict[str, tuple[int, str]] = {}
    excluded: list[tuple[int, str]] = []
    named: list[tuple[int, str]] = []
    for number, name, value in _entries_of_tilt(path):
        if name in ("EXCLUDELIST", "EXCLUDELIST2"):
            excluded.append((number, value))
        elif name == "INCLUDE":
            named.append((number, value))
        else:
            entries[name] = number, value
    if "TILTFILE" not in entries:
        raise InputError(f"{path}: no TILTFILE in the commands of tilt; give the file of tilt angles itself")
    number, name = entries["TILTFILE"]
    angles = angles_of_lines(path.parent / name) if name else []
    line, words = entries.get("OFFSET", (0, ""))
    offset = finite(path, line, SEPARATORS.split(words.replace(",", " "))[0], "as OFFSET") if words else 0.0
    included = {view for line, views in named for view in _views(path, line, views, len(angles))}
    included = included or set(range(1, len(angles) + 1))
    for line, views in excluded:
        included -= set(_views(path, line, views, len(angles)))
    return [angle + offset for view, angle in enumerate(angles, 1) if view in included]


def angles_of_aln(path: Path) -> list[float]:
    """Read AreTomo's ``.aln``.

    Raises
    ------
    InputError
        The file cannot be read, or a row has other columns than AreTomo's.
    """
    angles = []
    for number, line in enumerate(read_text(path, "an alignment of AreTomo").split("\n"), 1):
        if line.strip().startswith(LOCAL):
            break
        words = line.split()
        if words[:2] == ["#", ALN_COLUMNS[0]] and tuple(words[1:]) != ALN_COLUMNS:
            raise InputError(
                f"{path}: line {number} names other columns than {' '.join(ALN_COLUMNS)}; give the .tlt file"
            )
        if not words or words[0].startswith("#"):
            continue
        if len(words) != len(ALN_COLUMNS):
            raise InputError(
                f"{path}: line {number} has {len(words)} values, expected the {len(ALN_COLUMNS)} of AreTomo, "
                f"{' '.join(ALN_COLUMNS)}; the file is damaged"
            )
        values = [finite(path, number, word, f"as {name}") for word, name in zip(words, ALN_COLUMNS, strict=True)]
        angles.append(values[-1])
    return angles


def angles_of_mdoc(path: Path) -> list[float]:
    """Read SerialEM's ``.mdoc``.

    Raises
    ------
    InputError
        The file cannot be read, or a view has no angle.
    """
    angles: list[float] = []
    view: tuple[int, str] | None = None  # whose angle is to come
    for number, line in enumerate(read_text(path, "notes of SerialEM").split("\n"), 1):
        section = SECTION.fullmatch(line.strip())
        name, equals, value = line.partition("=")
        if section and view:
            break
        if section:
            view = (number, section[2]) if section[1] == VIEW else None
        elif equals and name.strip() == ANGLE and view:
            angles.append(finite(path, number, value.strip(), f"as {ANGLE}"))
            view = None
    if view:
        raise InputError(
            f"{path}: line {view[0]} begins the view {VIEW} = {view[1]}, which has no {ANGLE}; check the file"
        )
    return angles


def _commas_part_columns(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether a comma in a line of two whole numbers parts an angle from its order, as in -57,3 and -54,1."""
    pairs = [line.split(",") for _, line in lines if DECIMAL_COMMA.fullmatch(line)]
    if len(pairs) < 3 or len(pairs) < len(lines):
        return False
    return _is_count(sorted(float(right) for _, right in pairs))


def _words_of_row(path: Path, number: int, line: str, commas_part: bool) -> list[float]:
    words = [word for word in SEPARATORS.split(line) if word]
    if commas_part or not all(DECIMAL_COMMA.fullmatch(word) or POINT.fullmatch(word) for word in words):
        words = [word for word in SEPARATORS.split(line.replace(",", " ")) if word]
    try:
        return [number_of(word.replace(",", ".")) for word in words]
    except ValueError as error:
        raise InputError(
            f"{path}: line {number} has {line!r}; expected one tilt angle a line: give IMOD's .tlt or .rawtlt"
        ) from error


def _column_of_angles(path: Path, columns: Sequence[list[float]]) -> int:
    """Which of one or two columns has the angles: the other one counts, or is a dose."""
    if len(columns) == 1:
        return 0
    first, second = columns
    first_is_other, second_is_other = _is_count(first), _is_count(sorted(second))
    signs = [min(column) < 0 for column in columns]
    if (second_is_other and not first_is_other) or signs == [True, False]:
        return 0
    if first_is_other and signs == [False, True]:
        return 1
    raise InputError(
        f"{path}: two columns, and either could be the tilt angles; expected one tilt angle a line: leave one of them"
    )


def _is_count(values: Sequence[float]) -> bool:
    return any(list(values) == [float(start + step) for step in range(len(values))] for start in (0, 1))


def _entries_of_tilt(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and value of each entry of the command tilt in a command file."""
    inside = ended = False
    for number, line in enumerate(read_text(path, "a command file of IMOD").split("\n"), 1):
        words = line.strip()
        if words.startswith("$"):
            ended = ended or inside
            inside = not ended and words[1:].split(maxsplit=1)[:1] == ["tilt"]
        elif words.upper() == "DONE":
            ended, inside = ended or inside, False
        elif inside and words and not words.startswith("#"):
            name, _, value = words.partition(" ")
            yield number, name.upper(), value.strip().split("#")[0].strip()


def _views(path: Path, line: int, text: str, count: int) -> Iterator[int]:
    """Yield the numbers in a list such as 1,3-5, from 1."""
    for part in re.split(r"[,\s]+", text):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"{path}: line {line} has {part!r} in a list of views; expected numbers such as 1,3-5")
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high <= count:
            raise InputError(
                f"{path}: line {line} names the views {part}, but there are {count} tilt angles; check both"
            )
        yield from range(low, high + 1)
