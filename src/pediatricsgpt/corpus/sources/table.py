"""Tables: CSV with any usual delimiter, TSV, and the sheets of XLSX files, read row by row.

A quotation mark that is opened and never closed swallows what follows. So a row of several lines is only believed when
it closes and has as many fields as the header; where it does not, its first line is a reject and reading goes on with
the next line, so that the rows behind a broken one are read.
"""

from __future__ import annotations

import csv
import difflib
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.lines import MAX_LINE_BYTES, BadLine, Line
from pediatricsgpt.corpus.sources.rows import Row, reject_row
from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.records import Reject

_MAX_LINES = 1000  # a quoted field with more lines is a quotation mark that was never closed
_MAX_SEEN = 10_000
_MAX_LABEL = 40
_WORKBOOK = "xl/workbook.xml"
_DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, and its rows as mappings from column to text; what cannot be read is a reject among them."""

    columns: list[str]
    rows: Iterator[Row | Reject]


def open_table(file: SourceFile, aliases: Mapping[str, str] | None = None) -> Table:
    """Read the header of a table and be ready for its rows.

    Args:
        file: a `.csv`, `.tsv` or `.xlsx` file.
        aliases: what a column may be called -> its name here.

    Raises:
        UserError: there is no header, a column stands in it twice, the file is damaged, the encoding is unknown, or
            the extra `documents` is missing (XLSX).
    """
    rows = _sheets(file, aliases or {}) if file.path.suffix.lower() == ".xlsx" else _text_table(file, aliases or {})
    columns = next(rows)
    assert isinstance(columns, list)
    return Table(columns, (row for row in rows if not isinstance(row, list)))


def require_columns(file: SourceFile, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        UserError: those missing, those found and the nearest are named.
    """
    hints = []
    for column in expected:
        if column not in found:
            near = difflib.get_close_matches(column, found, n=1)
            hints.append(f"'{column}' (nearest: '{near[0]}')" if near else f"'{column}'")
    if hints:
        names = f"expected {', '.join(expected)}; found {', '.join(found)}"
        raise file.error(f"column {', '.join(hints)} is missing: {names}", 1)


def _header(file: SourceFile, fields: Sequence[Any], aliases: Mapping[str, str]) -> list[str]:
    names = [("" if field is None else str(field)).strip().lstrip("\ufeff") for field in fields]
    columns = [aliases.get(name, aliases.get(name.lower(), name)) for name in names]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise file.error(f"column {', '.join(twice)} stands twice in the header: {', '.join(names)}", 1)
    return columns


def _text_table(file: SourceFile, aliases: Mapping[str, str]) -> Iterator[list[str] | Row | Reject]:
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = file.lines()
    number, line = next(((number, line) for number, line in lines if line != ""), (1, ""))
    if isinstance(line, BadLine):
        raise file.error(f"the header line cannot be read: {line.reason}", number)
    delimiter = max(_DELIMITERS, key=line.count) if any(map(line.count, _DELIMITERS)) else ","
    try:
        header = _header(file, next(csv.reader([line], delimiter=delimiter, strict=True)), aliases)
    except (csv.Error, StopIteration) as error:
        raise file.error(f"the header line cannot be read: {error}", number) from error
    yield header
    yield from _Reader(file, header, delimiter).rows(lines)


class _Reader:
    """Puts the lines of a text table together to rows."""

    def __init__(self, file: SourceFile, header: list[str], delimiter: str) -> None:
        self.file, self.header, self.delimiter = file, header, delimiter
        self.waiting: deque[Line] = deque()  # lines that were read ahead and stay to be read
        self.seen: set[str] = set()  # what stood in the first column, if it is a label

    def rows(self, lines: Iterator[Line]) -> Iterator[Row | Reject]:
        number = 0
        while (line := self._next(lines)) is not None:
            if line[1] == "" or (isinstance(line[1], str) and line[1].isspace()):
                continue
            number += 1
            self.file.rows.read += 1
            yield self._row(number, line, lines)

    def _next(self, lines: Iterator[Line]) -> Line | None:
        return self.waiting.popleft() if self.waiting else next(lines, None)

    def _row(self, number: int, line: Line, lines: Iterator[Line]) -> Row | Reject:
        start, text = line
        if isinstance(text, BadLine):
            return self.file.reject(text.reason, line=start, number=number)
        fields = text.split(self.delimiter) if '"' not in text else self._quoted(text, lines)
        if isinstance(fields, str):
            return self.file.reject(fields, text, line=start, number=number)
        if len(fields) != len(self.header):
            reason = f"{len(fields)} fields, expected {len(self.header)} ({', '.join(self.header)})"
            return self.file.reject(reason, fields, line=start, number=number)
        if len(self.seen) < _MAX_SEEN and len(fields[0]) <= _MAX_LABEL:
            self.seen.add(fields[0])
        return Row(dict(zip(self.header, fields, strict=True)), start, number)

    def _quoted(self, text: str, lines: Iterator[Line]) -> list[str] | str:
        """The fields of a row that begins with this line; what is wrong with it where its quotation marks are.

        The lines behind the first one stay to be read unless they are part of the row.
        """
        taken: list[Line] = []
        fields, problem = self._parsed(text), ""
        while fields is None:
            line = self._next(lines) if len(taken) < _MAX_LINES and len(text) < MAX_LINE_BYTES else None
            if line is None or isinstance(line[1], BadLine):
                taken += [line] if line else []
                problem = "a quotation mark is opened in this row and not closed"
                break
            taken.append(line)
            text = f"{text}\n{line[1]}"
            # Without a quotation mark in it, a line cannot close the field.
            fields = self._parsed(text) if '"' in line[1] else None
        if isinstance(fields, list) and not self._has_swallowed(fields, taken):
            return fields
        self.waiting.extendleft(reversed(taken))
        if isinstance(fields, list):
            problem = "a quotation mark is opened in this row and not closed before the next"
        return problem or str(fields)

    def _parsed(self, text: str) -> list[str] | str | None:
        """The fields, what is wrong with them, or None where a quotation mark is still open."""
        try:
            return next(csv.reader(_with_ends(text), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return None if "unexpected end" in str(error) else f"broken row: {error}"

    def _has_swallowed(self, fields: list[str], taken: Sequence[Line]) -> bool:
        """Whether lines behind the first one are rows of their own: whole ones that begin as rows before did."""
        if not taken:
            return False
        wrong = len(fields) != len(self.header)
        for _, line in taken:
            # A line that closes a field of the row holds an odd number of marks, a row of its own an even one.
            alone = self._parsed(str(line)) if str(line).count('"') % 2 == 0 else None
            if isinstance(alone, list) and len(alone) == len(self.header) and (wrong or alone[0] in self.seen):
                return True
        return False


def _with_ends(text: str) -> Iterator[str]:
    """Lines with their ends, as the reader of the standard library wants them."""
    *lines, last = text.split("\n")
    return chain((f"{line}\n" for line in lines), [last])


def _sheets(file: SourceFile, aliases: Mapping[str, str]) -> Iterator[list[str] | Row | Reject]:
    """Header and rows of every sheet; all sheets with rows have the columns of the first."""
    columns: list[str] | None = None
    for sheet, number, values in _cells(file):
        if number is None:
            found = _header(file, _without_end(values), aliases)
            if columns is not None and found != columns:
                names = f"{', '.join(found)}; the first sheet has {', '.join(columns)}"
                raise file.error(f"sheet {sheet} has other columns: {names}")
            if columns is None:
                columns = found
                yield found
            continue
        file.rows.read += 1
        assert columns is not None
        fields = [_cell(value) for value in _without_end(values)]
        part = f"sheet {sheet}"
        if len(fields) > len(columns):
            reason = f"{len(fields)} fields, expected {len(columns)} ({', '.join(columns)})"
            yield reject_row(file, Row(fields, None, number, part), reason)
        else:
            fields += [""] * (len(columns) - len(fields))
            yield Row(dict(zip(columns, fields, strict=False)), None, number, part)
    if columns is None:
        raise file.error("no sheet holds a row")


def _cells(file: SourceFile) -> Iterator[tuple[str, int | None, Sequence[Any]]]:
    """Sheet, row number as the program shows it (None: the header) and values of each row that is not blank."""
    try:
        import openpyxl
    except ImportError as error:
        raise require_extra("documents", error) from error
    damaged = (zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, EOFError, OSError, TypeError)
    try:
        book = openpyxl.load_workbook(file.path, read_only=True, data_only=True)
        if lost := _lost_sheets(file.path, len(book.sheetnames)):
            raise ValueError(f"{lost} of its sheets are missing")
        for sheet in book.worksheets:
            header = False
            for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
                if any(value is not None and str(value).strip() for value in values):
                    yield sheet.title, number if header else None, values
                    header = True
        book.close()
    except damaged as error:
        raise file.error(f"not an XLSX file, or a damaged one; open it and save it again ({error})") from error


def _without_end(values: Sequence[Any]) -> Sequence[Any]:
    """Cells without the empty ones at the end, which a sheet has because another row is longer."""
    end = len(values)
    while end and (values[end - 1] is None or not str(values[end - 1]).strip()):
        end -= 1
    return values[:end]


def _lost_sheets(path: Path, found: int) -> int:
    """How many sheets a workbook names and does not hold; openpyxl passes over them in silence."""
    with zipfile.ZipFile(path) as archive:
        named = archive.read(_WORKBOOK) if _WORKBOOK in archive.namelist() else b""
    return len(re.findall(rb"<(?:\w+:)?sheet\s", named)) - found if named else 0


def _cell(value: Any) -> str:
    """A cell as text; whole numbers without the point that a spreadsheet gives them."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def table_error(file: SourceFile, found: Sequence[str], forms: Sequence[Sequence[str]]) -> UserError:
    """The error for a table of none of the forms that a kind reads."""
    expected = "; or ".join(", ".join(form) for form in forms)
    return file.error(f"columns of no known form: expected {expected}; found {', '.join(found)}", 1)
