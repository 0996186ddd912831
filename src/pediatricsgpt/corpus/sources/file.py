"""One file of a source: its bytes, its name as records carry it, and the one way to make records and rejects of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.lines import Line, read_lines
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Locator, Message, Record, Reject, Source, Step, content_id
from pediatricsgpt.text import decode, key

_STEP = "read"
_CHUNK = 2**20

Result = tuple[list[Record], list[Reject]]
"""What a reader of documents returns: what it read, and what it could not read."""
Items = Iterator[Record | Reject]
"""What a reader of rows yields, in the order of the file."""

FAMILY_OF_KIND = {
    "textbook": "specialised",
    "guideline": "specialised",
    "knowledge_graph": "specialised",
    "conversation": "conversation",
    "recording": "conversation",
    "dataset": "distilled",
    "preferences": "general",
    "text": "general",
}


@dataclass(slots=True)
class Rows:
    """An account of a file that has rows: JSON values, lines of a table, blocks of a dialogue file.

    What divides the file counts `read`; `used` are the rows that went into a record, `rejected` the others. Documents
    have none.
    """

    read: int = 0
    used: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source. `name` is relative to the recipe's folder and written with `/`.

    Documents take it as a whole (`data`, `text`), files of rows line by line (`lines`), so that their size does not
    matter. `encodings` counts what was found on the way: files, or lines.
    """

    path: Path
    name: str
    digest: str
    settings: SourceSettings
    rows: Rows = field(default_factory=Rows)
    encodings: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, path: Path, base: Path, settings: SourceSettings) -> SourceFile:
        """Open `path` and take its digest.

        Raises:
            UserError: the file is empty or cannot be opened.
        """
        digest, empty = hashlib.sha256(), True
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    empty = empty and not chunk.strip()
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", path) from error
        if empty:
            raise UserError("the file is empty", path)
        return cls(path, _relative(path, base), digest.hexdigest(), settings)

    @property
    def data(self) -> bytes:
        """The bytes, read anew each time.

        Raises:
            UserError: the file cannot be opened any more.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", self.path) from error

    def text(self) -> str:
        """The decoded text, every line end a single newline.

        Raises:
            UserError: the encoding is unknown.
        """
        try:
            decoded = decode(self.data)
        except ValueError as error:
            raise self.error(str(error)) from error
        if not decoded.text.strip():
            raise self.error("the file is empty")
        self.encodings[decoded.encoding.removesuffix("-sig")] += 1
        return decoded.text.replace("\r\n", "\n").replace("\r", "\n")

    def lines(self) -> Iterator[Line]:
        """The decoded lines with their numbers, one after the other; see `read_lines`.

        Raises:
            UserError: the encoding is unknown.
        """
        try:
            yield from read_lines(self.path, self.encodings)
        except ValueError as error:
            raise self.error(str(error)) from error

    def error(self, message: str, line: int | None = None) -> UserError:
        """The error for a file that as a whole cannot be read; the caller raises it."""
        return UserError(message, self.path if line is None else f"{self.path}:{line}")

    def reject(self, reason: str, row: Any = None, *, line: int | None = None, number: int | None = None) -> Reject:
        """A reject of a row of this file, or of the file; `line` and `number` (of the row) count from 1."""
        self.rows.rejected += 1
        where = self.name if line is None else f"{self.name}:{line}"
        if number is not None:
            where = f"{where}, row {number}"
        return Reject(_STEP, reason, where, row)

    def record(
        self,
        *,
        group: str,
        locator: Locator,
        text: str = "",
        title: Sequence[str] = (),
        messages: Sequence[Message] = (),
        chosen: Sequence[Message] = (),
        rejected: Sequence[Message] = (),
        department: str = "unknown",
        family: str = "",
        task: str = "",
    ) -> Record:
        """A record of this file with its provenance; the id is the hash of what it says.

        Without `family` it is the one of the source's kind.
        """
        settings = self.settings
        record = Record(
            id="",
            group=group,
            source=Source(
                name=settings.name,
                kind=settings.kind,
                file=self.name,
                file_hash=self.digest,
                licence=settings.licence,
                consent=settings.consent,
                purpose=settings.purpose,
                retrieved=settings.retrieved,
                locator=locator,
            ),
            text=text,
            title=list(title),
            messages=list(messages),
            chosen=list(chosen),
            rejected=list(rejected),
            family=family or FAMILY_OF_KIND[settings.kind],
            task=task,
            department=department,
            steps=[Step(_STEP)],
        )
        record.id = content_id(record.content())
        return record


def dialogue_group(messages: Sequence[Message]) -> str:
    """The group of a dialogue: every dialogue that opens with the same question is in one group."""
    opening = next((message["content"] for message in messages if message["role"] == "user"), "")
    return f"dialogue:{content_id(key(opening) or opening)}"


def _relative(path: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # another drive on Windows: there is no relative path
        return path.as_posix()
