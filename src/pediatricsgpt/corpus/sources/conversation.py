"""Dialogues between patients and doctors: JSON, the CMD tables, and the blocks of `.dialog` files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pediatricsgpt.corpus.sources.file import Result, SourceFile, dialogue_group
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row, table_rows
from pediatricsgpt.corpus.sources.shapes import Shaped, label, question_and_answer, read_shaped
from pediatricsgpt.records import Locator, Message, Record
from pediatricsgpt.text import key

_COLUMNS = ("department", "title", "ask", "answer")
_NO_DETAILS = "无"  # what CMD holds in `ask` where the patient wrote only a title
_SPEAKERS = {"P": "user", "D": "assistant"}
_SUMMARY = "SUM"
_CUT = "`"  # where a .dialog file joined two messages that a patient sent one after the other


def read_dialogues(file: SourceFile) -> Result:
    """Dialogues of a `.json` or `.jsonl` file, in any shape of turns or of question, answer and history.

    Rows with only `instruct` and `output` are safety rows: they go to the family `behaviour`.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    return read_shaped(file, _dialogue)


def _dialogue(file: SourceFile, row: Row, shaped: Shaped) -> Record:
    if shaped.chosen:
        raise RowError("a preference pair in a source of kind conversation: use kind preferences or dataset")
    return file.record(
        group=dialogue_group(shaped.messages),
        locator=row.locator(),
        messages=shaped.messages,
        department=shaped.department,
        family="behaviour" if shaped.safety else "",
        task="safety" if shaped.safety else "",
    )


def read_consultations(file: SourceFile) -> Result:
    """Consultations of a CMD table: `department`, `title`, `ask`, `answer`, in any encoding.

    The question is title and details; a title that the details repeat, and details that say `无`, are left out.

    Raises:
        UserError: a column is missing, a quotation mark never closes, or the encoding is unknown.
    """
    rows, rejects = table_rows(file, _COLUMNS)
    records: list[Record] = []
    for row in rows:
        try:
            messages = question_and_answer(_question(row.value), row.value["answer"])
        except RowError as error:
            rejects.append(reject_row(file, row, str(error)))
            continue
        group = dialogue_group(messages)
        department = label(row.value["department"])
        records.append(file.record(group=group, locator=row.locator(), messages=messages, department=department))
        file.rows.used += 1
    return records, rejects


def _question(row: Mapping[str, str]) -> str:
    title, details = row["title"].strip(), row["ask"].strip()
    if details == _NO_DETAILS:
        details = ""
    return "\n".join(part for part in (title if key(title) not in key(details) else "", details) if part) or title


def read_dialog_blocks(file: SourceFile) -> Result:
    """Dialogues of a HET-MC `.dialog` file: a header line, then `P` or `D`, the utterance and a label on each line.

    The header gives the department (one published file spells it `apartment`). Lines that start with `SUM` are the
    published summaries of the dialogue and no part of it; they and the labels are left out.

    Raises:
        UserError: the encoding is unknown.
    """
    records: list[Record] = []
    rejects = []
    for start, lines in _blocks(file.text()):
        file.rows.read += 1
        try:
            header = _header(lines[0])
            messages = [_utterance(line) for line in lines[1:] if not line.startswith(_SUMMARY)]
            if {message["role"] for message in messages} != {"user", "assistant"}:
                raise RowError("empty dialogue: nobody asks or nobody answers")
        except RowError as error:
            rejects.append(file.reject(str(error), "\n".join(lines), line=start))
            continue
        department = label(header.get("department", header.get("apartment")))
        locator = Locator(line=start, section=f"id {header['id']}")
        group = dialogue_group(messages)
        records.append(file.record(group=group, locator=locator, messages=messages, department=department))
        file.rows.used += 1
    return records, rejects


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """First line number and lines of each block; any number of empty lines separates blocks."""
    start, block = 1, list[str]()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            start = start if block else number
            block.append(line)
        elif block:
            yield start, block
            block = []


def _header(line: str) -> dict[str, str]:
    fields = line.split("\t")
    header = dict(zip(fields[::2], fields[1::2], strict=False))
    if "id" not in header:
        raise RowError("no header: the first line of a dialogue holds id, department and disease")
    return header


def _utterance(line: str) -> Message:
    fields = line.split("\t")
    role = _SPEAKERS.get(fields[0])
    content = "，".join(part.strip() for part in fields[1].split(_CUT) if part.strip()) if len(fields) > 1 else ""
    if role is None or not content:
        raise RowError("unknown line: expected P or D, a tab and what was said")
    return Message(role=role, content=content)
