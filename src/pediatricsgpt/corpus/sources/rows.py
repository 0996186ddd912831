"""Rows out of files: JSON arrays, JSON lines and CSV, each row with the line on which it starts."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Locator, Reject

_DECODER = json.JSONDecoder()
_BLANK = " \t\n\r"
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class RowError(ValueError):
    """A row cannot be read; the message is the reason of its reject."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file. `number` counts rows from 1, where the file has rows and not only lines."""

    value: Any
    line: int
    number: int | None = None

    def locator(self) -> Locator:
        """Where the row stands."""
        return Locator(line=self.line, row=self.number)


def reject_row(file: SourceFile, row: Row, reason: str) -> Reject:
    """The reject of a row, with the row itself."""
    return file.reject(reason, row.value, line=row.line, number=row.number)


def json_rows(file: SourceFile) -> tuple[list[Row], list[Reject]]:
    """The rows of a JSON array, of JSON lines, or the one row of a file that is a single object.

    What the file is, its content says and not its extension: published files of JSON lines are often called `.json`.
    A line that is not JSON is a reject, and the rest is read.

    Raises:
        UserError: the array is broken (the line is named), no line is JSON, or the encoding is unknown.
    """
    text = file.text()
    start = len(text) - len(text.lstrip())
    if text[start] == "[":
        rows = list(_array_rows(file, text, start))
        file.rows.read = len(rows)
        rejects: list[Reject] = []
    else:
        rows, rejects = _line_rows(file, text)
    broken = [row for row in rows if _has_lone_surrogate(row.value)] if _ESCAPED_SURROGATE.search(text) else []
    rejects += [file.reject("half a character (lone surrogate)", line=row.line, number=row.number) for row in broken]
    return [row for row in rows if row not in broken] if broken else rows, rejects


def _array_rows(file: SourceFile, text: str, start: int) -> Iterator[Row]:
    """Decode the elements one by one, so that each knows its line and an error says where it is."""
    position, line, number = start + 1, text.count("\n", 0, start + 1) + 1, 0
    while True:
        begin = _skip(text, position, _BLANK)
        line += text.count("\n", position, begin)
        if text[begin : begin + 1] == "]" and (number == 0 or text[begin - 1 : begin] != ","):
            return
        try:
            value, end = _DECODER.raw_decode(text, begin)
        except json.JSONDecodeError as error:
            raise file.error(f"the JSON array is broken: {error.msg}", error.lineno) from error
        number += 1
        yield Row(value, line, number)
        position = _skip(text, end, _BLANK)
        line += text.count("\n", begin, position)
        separator = text[position : position + 1]
        if separator == "]":
            return
        if separator != ",":
            problem = "it never ends" if not separator else f"expected , or ] and found {separator!r}"
            raise file.error(f"the JSON array is broken: {problem}", line)
        position += 1


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _line_rows(file: SourceFile, text: str) -> tuple[list[Row], list[Reject]]:
    rows: list[Row] = []
    broken: list[tuple[int, str, json.JSONDecodeError]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        file.rows.read += 1
        try:
            rows.append(Row(json.loads(line), number))
        except json.JSONDecodeError as error:
            broken.append((number, line, error))
    if rows and any(isinstance(row.value, dict) for row in rows):
        return rows, [
            file.reject(f"not JSON: {error.msg} at column {error.colno}", line, line=number)
            for number, line, error in broken
        ]
    file.rows.read = 1
    # No line is an object: one object over several lines, or no JSON at all.
    try:
        return [Row(json.loads(text), 1)], []
    except json.JSONDecodeError as error:
        raise file.error(f"neither a JSON array nor JSON lines: {error.msg}", error.lineno) from error


def _has_lone_surrogate(value: Any) -> bool:
    """True where `\\ud83d` stands alone: JSON allows it, but no file can be written with it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def table_rows(file: SourceFile, columns: Sequence[str], delimiter: str = ",") -> tuple[list[Row], list[Reject]]:
    """The rows of a table with a header line, as mappings; further columns are ignored.

    Newlines inside quoted fields belong to the field. `line` is the physical line on which the row starts.

    Raises:
        UserError: a column is missing (those found and the nearest are named), or a quotation mark never closes.
    """
    # `strict` turns a quotation mark that never closes into an error instead of swallowing the rest of the file.
    reader = csv.reader(io.StringIO(file.text(), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lstrip("\ufeff") for name in next(reader)]
    except (csv.Error, StopIteration) as error:
        raise file.error(f"the header line cannot be read: {error}", 1) from error
    missing = [column for column in columns if column not in header]
    if missing:
        raise _missing_columns(file, columns, missing, header)
    rows: list[Row] = []
    rejects: list[Reject] = []
    for number, line, fields in _fields(file, reader):
        file.rows.read += 1
        if isinstance(fields, str):
            rejects.append(file.reject(fields, line=line, number=number))
        elif len(fields) != len(header):
            reason = f"{len(fields)} fields, expected {len(header)} ({', '.join(header)})"
            rejects.append(file.reject(reason, fields, line=line, number=number))
        else:
            rows.append(Row(dict(zip(header, fields, strict=True)), line, number))
    return rows, rejects


def _fields(file: SourceFile, reader: Any) -> Iterator[tuple[int, int, list[str] | str]]:
    """Row number, first line and fields (or what is wrong with the row) of each row that is not blank."""
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # These two mean an unclosed quotation mark: what follows cannot be told apart into rows any more.
            if "unexpected end" in str(error) or "field limit" in str(error):
                raise file.error("a quotation mark is opened in this row and never closed", line) from error
            number += 1
            yield number, line, f"broken row: {error}"
            continue
        if fields:
            number += 1
            yield number, line, fields


def _missing_columns(file: SourceFile, expected: Sequence[str], missing: Sequence[str], found: list[str]) -> UserError:
    hints = []
    for column in missing:
        near = difflib.get_close_matches(column, found, n=1)
        hints.append(f"'{column}' (nearest: '{near[0]}')" if near else f"'{column}'")
    return file.error(
        f"column {', '.join(hints)} is missing: expected {', '.join(expected)}; found {', '.join(found)}", 1
    )
