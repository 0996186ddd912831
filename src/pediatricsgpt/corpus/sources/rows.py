"""Rows out of JSON files: arrays, JSON lines and single objects, each row with the line on which it starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.lines import MAX_LINE_BYTES, BadLine
from pediatricsgpt.records import Locator, Reject

_DECODER = json.JSONDecoder()
# Python reads no integer of more than 4,300 digits; where one stands, this finds the end of its value.
_ANY_INTEGER = json.JSONDecoder(parse_int=str)
_LONG_INTEGER = "an integer of more digits than can be read"
_NOT_BLANK = re.compile(r"[^ \t\n\r]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PEEK = 4096
_PIECE = 2**20
_MAX_OBJECT = 64 * 2**20  # a larger file of one object over several lines is none of ours


class RowError(ValueError):
    """A row cannot be read; the message is the reason of its reject."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file.

    `number` counts rows from 1, where the file has rows and not only lines; `part` says which of several things in
    the row is meant, or in which sheet it stands.
    """

    value: Any
    line: int | None
    number: int | None = None
    part: str | None = None

    def locator(self) -> Locator:
        """Where the row stands."""
        return Locator(line=self.line, row=self.number, section=self.part)


def reject_row(file: SourceFile, row: Row, reason: str) -> Reject:
    """The reject of a row, with the row itself."""
    reject = file.reject(reason, row.value, line=row.line, number=row.number)
    if row.part:
        reject.where = f"{reject.where}, {row.part}"
    return reject


def json_rows(file: SourceFile) -> tuple[list[Row], list[Reject]]:
    """All rows of a JSON file at once, and the rejects; see `stream_json`."""
    found: list[Row | Reject] = list(stream_json(file))
    return [row for row in found if isinstance(row, Row)], [row for row in found if isinstance(row, Reject)]


def stream_json(file: SourceFile) -> Iterator[Row | Reject]:
    """The rows of a JSON array, of JSON lines, or the one row of a file that is a single object.

    What the file is, its content says and not its extension: published files of JSON lines are often called `.json`.
    A line that is not JSON is a reject, and the rest is read; an array that is broken ends the reading. Rows are read
    one by one in both.

    Raises:
        UserError: the array is broken (the line is named), no line is JSON, or the encoding is unknown.
    """
    return _array_rows(file) if _opens_array(file) else _line_rows(file)


def _opens_array(file: SourceFile) -> bool:
    with file.path.open("rb") as stream:
        start = stream.read(_PEEK)
    text = start.decode("utf-16", "ignore") if start[:2] in (b"\xff\xfe", b"\xfe\xff") else start.decode("latin-1")
    return text.removeprefix("\u00ef\u00bb\u00bf").lstrip()[:1] == "["


def _is_utf8(file: SourceFile) -> bool:
    try:
        with file.path.open(encoding="utf-8-sig") as stream:
            while stream.read(_PIECE):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _pieces(file: SourceFile) -> Iterator[str]:
    """The text of a file in pieces; line by line only where it is not UTF-8, because an array of one line is long."""
    if not _is_utf8(file):
        yield from (f"{line}\n" for line in _readable(file))
        return
    file.encodings["utf-8"] += 1
    with file.path.open(encoding="utf-8-sig") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _readable(file: SourceFile) -> Iterator[str]:
    for number, line in file.lines():
        if isinstance(line, BadLine):
            raise file.error(f"the JSON is broken: {line.reason}", number)
        yield line


class _Window:
    """The part of a long text from `position` on, as far as it is needed; `line` is the line of that position."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.pieces, self.text, self.position, self.line = pieces, "", 0, 1

    def more(self, characters: int = 1) -> bool:
        """Take so many characters more; False at the end of the text."""
        taken = [self.text[self.position :]]
        while characters > 0 and (piece := next(self.pieces, None)) is not None:
            taken.append(piece)
            characters -= len(piece)
        self.text, self.position = "".join(taken), 0
        return len(taken) > 1

    def advance(self, end: int) -> None:
        """Leave everything before `end` behind."""
        self.line += self.text.count("\n", self.position, end)
        self.position = end

    def sign(self) -> str:
        """The next character that is not blank, and stop there; empty at the end of the text."""
        while not (found := _NOT_BLANK.search(self.text, self.position)):
            self.advance(len(self.text))
            if not self.more():
                return ""
        self.advance(found.start())
        return found[0]

    def value(self, decoder: json.JSONDecoder = _DECODER) -> tuple[Any, int]:
        """The JSON value that begins here, and where it ends.

        Raises:
            json.JSONDecodeError: none does, in the whole rest of the text; its `lineno` is that of the file.
            ValueError: an integer in it has more digits than Python reads.
        """
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.position)
            except json.JSONDecodeError as error:
                # Perhaps the window is too small: twice as much costs twice the time in all.
                if not self.more(len(self.text) - self.position):
                    error.lineno = self.line + self.text.count("\n", self.position, error.pos)
                    raise
                continue
            if end < len(self.text) or not self.more():  # a number goes on where the window ends
                return value, end


def _array_rows(file: SourceFile) -> Iterator[Row | Reject]:
    """Decode the elements one by one, so that each knows its line and an error says where it is."""
    window = _Window(_pieces(file))
    window.sign()
    window.advance(window.position + 1)
    number = 0
    sign = window.sign()
    while number or sign != "]":
        value, end, problem = _decoded(file, window)
        number += 1
        file.rows.read += 1
        if problem:
            yield file.reject(problem, line=window.line, number=number)
        else:
            yield _element(file, window, Row(value, window.line, number), end)
        window.advance(end)
        sign = window.sign()
        if sign == "]":
            break
        if sign != ",":
            problem = "it never ends" if not sign else f"expected , or ] and found {sign!r}"
            raise file.error(f"the JSON array is broken: {problem}", window.line)
        window.advance(window.position + 1)
        window.sign()
    window.advance(window.position + 1)
    if window.sign():
        follows = window.text[window.position : window.position + 20]
        raise file.error(f"the JSON array is broken: something follows its end: {follows!r}", window.line)


def _decoded(file: SourceFile, window: _Window) -> tuple[Any, int, str]:
    """The next element, where it ends, and why it cannot be read although the array goes on behind it."""
    try:
        try:
            return *window.value(), ""
        except json.JSONDecodeError:
            raise
        except ValueError:
            return None, window.value(_ANY_INTEGER)[1], f"not readable: {_LONG_INTEGER}"
    except json.JSONDecodeError as error:
        raise file.error(f"the JSON array is broken: {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise file.error("the JSON array is broken: nested too deeply", window.line) from error


def _element(file: SourceFile, window: _Window, row: Row, end: int) -> Row | Reject:
    size = end - window.position
    if size > MAX_LINE_BYTES:
        reason = f"row too long: {size / 2**20:.0f} million characters, at most {MAX_LINE_BYTES // 2**20}"
        return file.reject(reason, line=row.line, number=row.number)
    return _whole(file, row) if _ESCAPED_SURROGATE.search(window.text, window.position, end) else row


def _line_rows(file: SourceFile) -> Iterator[Row | Reject]:
    lines = ((number, line) for number, line in file.lines() if isinstance(line, BadLine) or line.strip())
    start = next(lines, None)
    if start is None:
        raise file.error("the file is empty")
    problem = start[1].reason if isinstance(start[1], BadLine) else "no line is an object"
    where = start[0]
    if isinstance(start[1], str) and not _is_json(start[1]) and file.path.stat().st_size <= _MAX_OBJECT:
        # Either the first of many lines is broken, or one object runs over several lines.
        text = "\n".join(_readable(file))
        try:
            rows = _object_rows(_DECODER.decode(text))
        except json.JSONDecodeError as error:
            problem, where = error.msg, error.lineno
        except RecursionError:
            problem = "nested too deeply"
        except ValueError:
            if _is_json(text):
                file.rows.read += 1
                yield file.reject(f"not readable: {_LONG_INTEGER}", line=where)
                return
            problem = _LONG_INTEGER
        else:
            for named in rows:
                file.rows.read += 1
                yield _whole(file, named)
            return
    objects = 0
    for number, line in chain([start], lines):
        file.rows.read += 1
        row = _line_row(file, number, line)
        objects += isinstance(row, Row) and isinstance(row.value, dict | list)
        yield row
    if not objects:
        raise file.error(f"neither a JSON array nor JSON lines: {problem}", where)


def _object_rows(value: Any) -> list[Row]:
    """The one row that an object is, or the rows of an object that only names them: `{"10001": {…}, "10002": {…}}`."""
    if not isinstance(value, dict) or not value or not all(isinstance(row, dict) for row in value.values()):
        return [Row(value, 1)]
    return [Row(row, 1, number, f"key {name}") for number, (name, row) in enumerate(value.items(), 1)]


def _line_row(file: SourceFile, number: int, line: str | BadLine) -> Row | Reject:
    if isinstance(line, BadLine):
        return file.reject(line.reason, line=number)
    try:
        row = Row(json.loads(line), number)
        return _whole(file, row) if _ESCAPED_SURROGATE.search(line) else row
    except json.JSONDecodeError as error:
        return file.reject(f"not JSON: {error.msg} at column {error.colno}", line, line=number)
    except RecursionError:
        return file.reject("not JSON: nested too deeply", line[:200], line=number)
    except ValueError:
        return file.reject(f"not readable: {_LONG_INTEGER}", line[:200], line=number)


def _is_json(line: str) -> bool:
    """Whether a text is JSON, also where an integer in it is longer than can be read."""
    try:
        _ANY_INTEGER.decode(line)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _whole(file: SourceFile, row: Row) -> Row | Reject:
    """The row, unless `\\ud83d` stands alone in it: JSON allows it, but no file can be written with it."""
    try:
        json.dumps(row.value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return file.reject("half a character (lone surrogate)", line=row.line, number=row.number)
    return row


def one_of(names: Sequence[str]) -> str:
    """Names for a message: `a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
