"""Lines out of a file of rows, one after the other, each decoded for itself; no file is held in memory.

Files are put together from several sources and so hold several encodings. What most lines are written in is found
first; a line that cannot be that is tried as the others, and what is none is a bad line with its reason. A line feed
is never part of a character in UTF-8, GB18030 and Big5, so bytes can be cut into lines before they are decoded.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.text import decode, decode_lines

MAX_LINE_BYTES = 32 * 2**20
"""Longer lines are rejected unread: no row of a conversation or a graph is as long as a book."""

_CHUNK = 2**20
_SAMPLE_LINES = 1000
_SAMPLE_BYTES = 4096
_USUAL = 0.7  # share of a line in simplified characters below which it may be none: Big5 also decodes as GB18030
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Two-byte characters of UTF-8: Latin with accents, Greek, Cyrillic. GB18030 bytes that happen to be valid UTF-8 give
# these and never a Han character, which takes three bytes.
_TWO_BYTES = re.compile("[\u0080-\u07ff]")
_HAN = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be read, and why."""

    reason: str


Line = tuple[int, "str | BadLine"]
"""Number (from 1) and text without its end, or what is wrong with it."""


def read_lines(path: Path, encodings: Counter[str]) -> Iterator[Line]:
    """The lines of a file, however long it is; a carriage return, a line feed and both end a line.

    Args:
        path: the file.
        encodings: the lines found in each encoding are counted here, without those of plain ASCII.

    Raises:
        ValueError: no encoding gives plausible text.
    """
    if codec := _utf16_codec(path):
        lines = _utf16_lines(path, codec, encodings)
    else:
        main = _main_encoding(path)
        encodings[main] += 0  # a file of nothing but ASCII has an encoding, too
        lines = _decoded(path, main, encodings)
    number = 0
    for line in lines:
        # Files of old systems end their lines with a carriage return, which may also stand alone.
        parts: tuple[str | BadLine, ...] | list[str] = (line,)
        if isinstance(line, str) and "\r" in line:
            parts = line.removesuffix("\r").split("\r")
        for part in parts:
            number += 1
            yield number, part


def _byte_lines(path: Path) -> Iterator[bytes | int]:
    """Lines without their line feed; of one that is too long only how many bytes it has."""
    rest, dropped = b"", 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            first, *others = chunk.split(b"\n")
            if dropped or len(rest) + len(first) > MAX_LINE_BYTES:
                dropped, rest = dropped + len(rest) + len(first), b""
            else:
                rest += first
            if others:
                yield dropped or rest
                yield from others[:-1]
                rest, dropped = others[-1], 0
    if rest or dropped:
        yield dropped or rest


def _main_encoding(path: Path) -> str:
    """What most of the first lines that are not ASCII are written in.

    Raises:
        ValueError: no encoding gives plausible text.
    """
    good, others = 0, list[bytes]()
    for line in _byte_lines(path):
        if isinstance(line, int) or line.isascii():
            continue
        if is_utf8(line):
            good += 1
        else:
            others.append(line[:_SAMPLE_BYTES] if len(line) <= _SAMPLE_BYTES else _whole_characters(line))
        if good + len(others) == _SAMPLE_LINES:
            break
    return "utf-8" if good >= len(others) else decode_lines(b"\n".join(others)).main


def _utf16_codec(path: Path) -> str:
    """The codec of a file in UTF-16; empty for others. Without a mark its zeros tell: every ASCII sign has one."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
    if start.startswith(_UTF16_MARKS):
        return "utf-16"
    if b"\0" not in start:
        return ""
    found = decode_lines(start[: len(start) // 2 * 2]).main
    return found if found.startswith("utf-16") else ""


def _whole_characters(line: bytes) -> bytes:
    """The beginning of a long line, cut behind a sign that is part of no longer character (GB18030 has digits in)."""
    cut = _SAMPLE_BYTES
    while cut < len(line) and line[cut - 1] >= 0x30:
        cut += 1
    return line[:cut]


def is_utf8(line: bytes) -> bool:
    """Whether bytes are UTF-8 and mean it: GB18030 bytes that are valid UTF-8 by chance are not."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text.isascii() or bool(_HAN.search(text)) or not _TWO_BYTES.search(text)


def _decoded(path: Path, main: str, encodings: Counter[str]) -> Iterator[str | BadLine]:
    for line in _byte_lines(path):
        if isinstance(line, int):
            yield BadLine(f"line too long: {line / 2**20:.0f} MB, at most {MAX_LINE_BYTES // 2**20} are read")
        elif line.isascii():
            yield line.decode("ascii")
        else:
            # A mark stands before the first line, and before others where files were joined.
            yield _decoded_line(line.removeprefix(codecs.BOM_UTF8), main, encodings)


def _decoded_line(line: bytes, main: str, encodings: Counter[str]) -> str | BadLine:
    encoding = "utf-8" if main == "utf-8" or is_utf8(line) else main
    try:
        text = line.decode(encoding)
        suspicious = encoding == "gb18030" and len(text.encode("gb2312", "ignore")) < _USUAL * len(line)
    except UnicodeDecodeError as error:
        broken = BadLine(f"broken encoding: byte {error.start + 1} of the line is not {encoding}")
        if _is_damaged_utf8(line):
            return broken
        suspicious, text = True, ""
    else:
        broken = BadLine(f"broken encoding: the line is not {encoding}")
    if suspicious:
        try:
            decoded = decode(line)
        except ValueError:
            return broken
        encoding, text = decoded.encoding, decoded.text
    encodings[encoding] += 1
    return text


def _is_damaged_utf8(line: bytes) -> bool:
    """Whether most of a line is UTF-8 Chinese: as GB18030 it would be read, but as nonsense."""
    han = len(_HAN.findall(line.decode("utf-8", "ignore")))
    return 3 * han > sum(byte >= 0x80 for byte in line) / 2


def _utf16_lines(path: Path, codec: str, encodings: Counter[str]) -> Iterator[str | BadLine]:
    limit = MAX_LINE_BYTES // 2
    with path.open(encoding=codec, newline="\n") as file:
        try:
            while line := file.readline(limit):
                size = len(line)
                while not line.endswith("\n") and (more := file.readline(limit)):
                    line, size = more, size + len(more)
                encodings["utf-16"] += 1
                if size > limit:
                    yield BadLine(f"line too long: {2 * size / 2**20:.0f} MB, at most {2 * limit // 2**20} are read")
                else:
                    yield line.removesuffix("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"broken UTF-16 text: {error.reason}") from error
