"""Reading a benchmark's files: tables and JSON in whatever Chinese encoding, with columns found by their names."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.text import decode

Columns = Mapping[str, Sequence[str]]
"""Our name of a column -> what files call it; the names after a "?" are those of a column that may be missing"""
OPTIONAL = "?"
WRONG_WIDTH = "a row with too few or too many fields"
_LONGEST_FIELD = 1 << 20


def find(path: Path, patterns: Sequence[str], what: str) -> list[Path]:
    """The files of a benchmark: `path` itself, or in a folder those that the first pattern with a match names.

    Args:
        patterns: globs below the folder, the preferred one first; case does not matter.
        what: the files' names in words, for the error.

    Raises:
        UserError: there is no such file or folder, or the folder has none of the files.
    """
    if path.suffix.lower() in (".zip", ".gz", ".rar", ".7z"):
        raise UserError("this is an archive: unpack it first", path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError("no such file or folder", path)
    below = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".", "~$")))
    for pattern in patterns:
        wanted = re.compile(pattern, re.IGNORECASE)
        found = [file for file in below if wanted.fullmatch(file.name)]
        if found:
            return found
    has = f"it has {', '.join(file.name for file in below[:5])}" if below else "it is empty"
    raise UserError(f"no {what} in this folder; {has}", path)


def read_text(path: Path) -> str:
    """A text file's content.

    Raises:
        UserError: it cannot be read, or is not Chinese text in any known encoding.
    """
    try:
        return decode(path.read_bytes()).text
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path) from error
    except ValueError as error:
        raise UserError(str(error), path) from error


def read_csv(path: Path, columns: Columns, delimiter: str = ",") -> Iterator[dict[str, str] | None]:
    """The rows below the header, by our names of the columns; None for a row that has another width.

    Fields in quotes may hold line ends. Columns that may be missing, and are, hold an empty text.

    Raises:
        UserError: the file is empty, lacks a column (the nearest one is named), or a quote never ends.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        header = next(reader, [])
        places = _places(header, columns, path)
        for row in reader:
            if row:
                yield _named(row, places) if len(row) == len(header) else None
    except csv.Error as error:
        raise UserError(f"{error}: a quote that never ends?", f"{path}:{reader.line_num}") from error


def read_xlsx(path: Path, columns: Columns) -> Iterator[dict[str, str]]:
    """The rows below the header of a workbook's first sheet, by our names of the columns; empty rows are passed over.

    Raises:
        UserError: openpyxl is not installed, the file is no workbook, or a column is missing.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise require_extra("documents", error) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises a dozen kinds, of zip, XML and its own
        raise UserError(f"not an xlsx workbook ({error})", path) from error
    rows = book.worksheets[0].iter_rows(values_only=True)
    places = _places(["" if cell is None else str(cell) for cell in next(rows, ())], columns, path)
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        if any(cell.strip() for cell in cells):
            yield _named(cells, places)
    book.close()


def read_table(path: Path, columns: Columns) -> Iterator[dict[str, str] | None]:
    """`read_csv` or `read_xlsx`, by the file's ending."""
    if path.suffix.lower() == ".xlsx":
        yield from read_xlsx(path, columns)
    else:
        yield from read_csv(path, columns, "\t" if path.suffix.lower() in (".tsv", ".txt") else ",")


def read_json(path: Path) -> list[Any]:
    """The values of a JSON list, or of a file with one JSON value a line.

    Raises:
        UserError: it is neither; the line is named.
    """
    text = read_text(path).lstrip("\ufeff")
    if text.lstrip().startswith("["):
        try:
            values: list[Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"not JSON: {error.msg}", f"{path}:{error.lineno}") from error
        return values
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise UserError(f"not JSON: {error.msg} at column {error.colno}", f"{path}:{number}") from error
    return found


def field_of(row: Any, names: Sequence[str]) -> str:
    """The first of these fields that a JSON row has, as stripped text; empty where it has none."""
    for name in names:
        value = row.get(name) if isinstance(row, dict) else None
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value).strip()
    return ""


def require_fields(rows: Sequence[Any], fields: Columns, path: Path) -> None:
    """Refuse a file of which no row has some field: it is another file, not a faulty one."""
    known = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    for names in fields.values():
        if not known.keys() & set(names):
            raise UserError(_missing(names[0], known, "field"), path)


def _places(header: Sequence[str], columns: Columns, path: Path) -> dict[str, int | None]:
    if not any(cell.strip() for cell in header):
        raise UserError("the file is empty: it has no header", path)
    cells = [cell.strip().lstrip("\ufeff").lower() for cell in header]
    places: dict[str, int | None] = {}
    for name, aliases in columns.items():
        wanted = [alias.lower() for alias in aliases if alias != OPTIONAL]
        place = next((cells.index(alias) for alias in wanted if alias in cells), None)
        if place is None and OPTIONAL not in aliases:
            raise UserError(_missing(aliases[0], header, "column"), path)
        places[name] = place
    return places


def _missing(name: str, known: Iterable[Any], what: str) -> str:
    names = [str(one).strip() for one in known if str(one).strip()]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean it by '{near[0]}'?" if near else f"there is {', '.join(names[:12]) or 'none at all'}"
    return f"{what} '{name}' is missing; {hint}"


def _named(row: Sequence[str], places: Mapping[str, int | None]) -> dict[str, str]:
    return {
        name: row[place].strip() if place is not None and place < len(row) else "" for name, place in places.items()
    }
