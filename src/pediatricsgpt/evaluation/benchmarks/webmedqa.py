"""webMedQA: real questions from consultation sites, each with the adopted answer and four drawn from other questions.

The form is that of github.com/hejunqing/webMedQA (He et al. 2019, doi 10.1186/s12911-019-0761-8): UTF-8 text without
a header (`medQA.test.txt`, 31,685 lines), in each line, between tabs, department, label (1: the right answer),
question id, question, answer; the five lines of a question stand together.
"""

from __future__ import annotations

from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.files import WRONG_WIDTH, find, read_text
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, asked

_FIELDS = 5
_NAMES = (r"medQA\.test\.txt", r".*test.*\.(txt|tsv)", r".*\.(txt|tsv)")


def read_webmedqa(path: Path) -> tuple[Tally, list[Path]]:
    """Questions with their right answer as the reference, and all their answers as candidates.

    Rows are lines. Of a question that has no right answer, more than one, or no wrong one, all lines are dropped.

    Raises:
        UserError: the file has no tab: it is not this benchmark.
    """
    (file, *more) = find(path, _NAMES, "medQA.test.txt")
    if more:
        raise UserError(f"several files could be meant ({file.name}, {more[0].name}); name one", path)
    tally = Tally()
    questions: dict[str, list[list[str]]] = {}
    for line in read_text(file).split("\n"):
        fields = [field.strip() for field in line.rstrip("\r").split("\t")]
        if not line.strip():
            continue
        if len(fields) != _FIELDS or fields[1] not in ("0", "1"):
            tally.drop(WRONG_WIDTH if len(fields) != _FIELDS else "a label that is neither 0 nor 1")
        else:
            questions.setdefault(fields[2], []).append(fields)
    if not questions:
        raise UserError("no line with department, label, id, question and answer between tabs", file)
    for name, lines in questions.items():
        _take(tally, name, lines)
    return tally, [file]


def _take(tally: Tally, name: str, lines: list[list[str]]) -> None:
    candidates = [(line[4], line[1] == "1") for line in lines]
    right = [text for text, is_right in candidates if is_right]
    fault = _fault(lines, right)
    if fault:
        tally.drop(fault, len(lines))
        return
    item = Item(
        id=name,
        messages=asked(lines[0][3]),
        reference=right[0],
        department=lines[0][0] or None,
        candidates=candidates,
    )
    tally.keep(item, len(lines))


def _fault(lines: list[list[str]], right: list[str]) -> str | None:
    if len({line[3] for line in lines}) > 1:
        return "one id for several questions"
    if not lines[0][3]:
        return "no question"
    if len(right) != 1:
        return "more than one right answer" if right else "no right answer"
    if not all(line[4] for line in lines):
        return "an empty answer"
    if len(lines) == 1:
        return "no wrong answer"
    return "a wrong answer that is the right one" if [line[4] for line in lines].count(right[0]) > 1 else None
