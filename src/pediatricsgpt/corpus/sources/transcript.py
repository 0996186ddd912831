"""Dialogues in text files: `.dialog` blocks, lines of special tokens, lines that begin with who speaks, plain blocks.

What a file is, its content says: JSON lines are often called `.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pediatricsgpt.corpus.sources.conversation import question, read_dialogues
from pediatricsgpt.corpus.sources.file import Items, SourceFile, dialogue_group
from pediatricsgpt.corpus.sources.lines import BadLine, Line
from pediatricsgpt.corpus.sources.rows import RowError
from pediatricsgpt.corpus.sources.shapes import label, question_and_answer, speaker_of, spoken
from pediatricsgpt.records import Locator, Message, Record

_SPEAKERS = {"P": "user", "D": "assistant"}
_SUMMARY = "SUM"
_CUT = "`"  # where a .dialog file joined two messages that a patient sent one after the other
_TOKEN = re.compile(r"<\|(\w+)\|>")
_TOKEN_ROLES = {"user": "user", "currentuser": "user", "system": "assistant", "response": "assistant"}
_NOT_SAID = {"intent", "action", "knowledge", "k", "continue"}
_PEEK_LINES = 200
_MAX_BLOCK_LINES = 5000

Block = tuple[int, list[str]]
"""Number of the first line, and the lines."""


def read_transcripts(file: SourceFile) -> Items:
    """Dialogues of a `.txt` or `.dialog` file.

    - a header line `id<TAB>…` and lines of `P` or `D`, the utterance and a label: `.dialog` blocks (HET-MC);
    - `<|user|>`, `<|system|>`, `<|currentuser|>`, `<|response|>`: special tokens, a turn with all before it on each
      line (ReMeDi); lines that only lead up to a later one are part of its record;
    - `病人：…`, `医生：…`: blocks of lines that say who speaks, the speaker being on a line of its own if need be;
    - blocks of a line with the question (title, comma, details) and lines with the answer (CMD as text).

    Raises:
        UserError: the file is none of these, or its encoding is unknown.
    """
    start = _first_lines(file)
    if not start:
        raise file.error("the file is empty")
    if start[0].lstrip()[:1] in "[{":
        return read_dialogues(file)
    if any(_TOKEN.search(line) for line in start):
        return _token_dialogues(file)
    if file.path.suffix.lower() == ".dialog" or any(re.match(r"[PD]\t", line) for line in start):
        return _blocks(file, _dialog_block)
    if any(speaker_of(line) for line in start):
        return _blocks(file, _spoken_block, gap=2 if _has_gaps(start) else 1)
    if not _is_plain(start):
        return _no_dialogue(file)
    return _blocks(file, _plain_block)


def _is_plain(lines: Sequence[str]) -> bool:
    """Whether most blocks are a line of title, comma and details, and a line with the answer; prose is not."""
    blocks = [lines for _, lines in _cut(enumerate(lines, 1), 1)]
    return 2 * sum(len(block) > 1 and "," in str(block[0]) for block in blocks) > len(blocks)


def _no_dialogue(file: SourceFile) -> Items:
    file.rows.read += 1
    yield file.reject("no dialogue: neither P and D lines, special tokens, 病人：… and 医生：… nor title,details lines")


def _first_lines(file: SourceFile) -> list[str]:
    """The first lines of a file from the first that is not empty."""
    found: list[str] = []
    for _, line in islice(file.lines(), _PEEK_LINES):
        if isinstance(line, str) and (found or line.strip()):
            found.append(line)
    return found


def _blocks(
    file: SourceFile,
    read: Callable[[SourceFile, Block], Record],
    gap: int = 1,
) -> Items:
    """What `read` makes of each block; `gap` empty lines end one."""
    for start, lines in _cut(file.lines(), gap):
        file.rows.read += 1
        bad = next(((start + place, line) for place, line in enumerate(lines) if isinstance(line, BadLine)), None)
        said = [line for line in lines if isinstance(line, str) and line.strip()]
        try:
            if bad:
                raise RowError(f"{bad[1].reason} (line {bad[0]})")
            if len(lines) > _MAX_BLOCK_LINES:
                raise RowError(f"block too long: more than {_MAX_BLOCK_LINES} lines without an empty one between")
            record = read(file, (start, said))
        except RowError as error:
            yield file.reject(str(error), "\n".join(said), line=start)
            continue
        file.rows.used += 1
        yield record


def _cut(lines: Iterator[Line], gap: int) -> Iterator[tuple[int, list[str | BadLine]]]:
    """First line number and lines of each block, empty ones in between included."""
    start, block, empty = 1, list[str | BadLine](), 0
    for number, line in lines:
        if isinstance(line, str) and not line.strip():
            empty += 1
            continue
        if block and empty >= gap:
            yield start, block
            block = []
        start = start if block else number
        if len(block) <= _MAX_BLOCK_LINES:  # what is longer is rejected, and need not be held
            block += [""] * (empty if block else 0) + [line]
        empty = 0
    if block:
        yield start, block


def _dialog_block(file: SourceFile, block: Block) -> Record:
    """A block of a HET-MC file. The header gives the department (one published file spells it `apartment`).

    Lines that start with `SUM` are the published summaries of the dialogue and no part of it; they and the labels are
    left out.
    """
    start, lines = block
    header = _header(lines[0])
    messages = [_utterance(line) for line in lines[1:] if not line.startswith(_SUMMARY)]
    department = label(header.get("department", header.get("apartment")))
    return _record(file, messages, Locator(line=start, section=f"id {header['id']}"), department)


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


def _has_gaps(lines: Sequence[str]) -> bool:
    """Whether empty lines stand between the turns of one dialogue: between what is asked and what is answered."""
    roles = [("" if not line.strip() else (speaker_of(line) or ("?",))[0]) for line in lines]
    return any(three == ("user", "", "assistant") for three in zip(roles, roles[1:], roles[2:], strict=False))


def _spoken_block(file: SourceFile, block: Block) -> Record:
    start, lines = block
    messages = [message for message in spoken(lines) if message["content"]]
    return _record(file, messages, Locator(line=start))


def _plain_block(file: SourceFile, block: Block) -> Record:
    start, lines = block
    if len(lines) < 2:
        raise RowError("no answer: a block is a line with the question and lines with the answer")
    title, _, details = lines[0].partition(",")
    messages = question_and_answer(question({"title": title, "ask": details}), "\n".join(lines[1:]))
    return _record(file, messages, Locator(line=start))


def _record(file: SourceFile, messages: Sequence[Message], locator: Locator, department: str = "unknown") -> Record:
    if not {"user", "assistant"} <= {message["role"] for message in messages}:
        raise RowError("empty dialogue: nobody asks or nobody answers")
    return file.record(group=dialogue_group(messages), locator=locator, messages=messages, department=department)


@dataclass(slots=True)
class _Told:
    """A dialogue of special tokens as far as it was told, and the lines that told it."""

    line: int
    messages: list[Message]
    text: str
    lines: int = 1

    def leads_to(self, other: _Told) -> bool:
        """Whether another dialogue begins with all of this one and goes on."""
        return other.messages[: len(self.messages)] == self.messages


def _token_dialogues(file: SourceFile) -> Items:
    """One record for each dialogue: of the lines that tell it further and further, the last."""
    told: _Told | None = None
    for number, line in file.lines():
        if isinstance(line, str) and not line.strip():
            continue
        file.rows.read += 1
        try:
            if isinstance(line, BadLine):
                raise RowError(line.reason)
            found = _Told(number, _tokens(line), line)
        except RowError as error:
            yield file.reject(str(error), line if isinstance(line, str) else None, line=number)
            continue
        if told and told.leads_to(found):
            found.lines += told.lines
        elif told:
            yield _token_record(file, told)
        told = found
    if told:
        yield _token_record(file, told)


def _token_record(file: SourceFile, told: _Told) -> Record:
    file.rows.used += told.lines
    locator = Locator(line=told.line)
    return file.record(group=dialogue_group(told.messages), locator=locator, messages=told.messages)


def _tokens(line: str) -> list[Message]:
    """The turns of a line: what stands behind a speaker's token up to the next token."""
    parts = _TOKEN.split(line)
    messages = []
    for token, text in zip(parts[1::2], parts[2::2], strict=True):
        role = _TOKEN_ROLES.get(token)
        if role and text.strip():
            messages.append(Message(role=role, content=text.strip()))
        elif text.strip() and token not in _NOT_SAID and not token.startswith("endof"):
            raise RowError(f"unknown token: <|{token}|>")
    if not {"user", "assistant"} <= {message["role"] for message in messages}:
        raise RowError("empty dialogue: nobody asks or nobody answers")
    return messages
