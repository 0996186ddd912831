"""PediaBench: pediatric questions of five kinds, from examinations and textbooks.

The form is that of github.com/ACMISLab/PediaBench (Zhang et al. 2024, arXiv 2412.06287), folder `data`, one workbook
for each kind: `True or False.xlsx` (`Disease Groups,questions,answers`: 对 or 错), `Multiple Choice.xlsx` (`Disease
Groups,questions,options,answers`: options in lines, one or several letters), `Pairing.xlsx` (`disease groups,question
number,questions,answers,disrupted answers`: the questions of a set follow each other from 问题1 on), `EssayShort
Answer.xlsx` and `Case Analysis.xlsx` (`questions,answers`). The paper weighs questions by difficulty, but the
published files do not say it, so a question counts one point, and a pairing 3, 1 or 0 as the paper has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.exams import choice_item, options_in, take_choice
from pediatricsgpt.evaluation.benchmarks.files import OPTIONAL, find, read_xlsx
from pediatricsgpt.evaluation.benchmarks.item import Item, Kind, Tally, asked, item_id

DEPARTMENT = "儿科"
_GROUP = ("Disease Groups", "disease groups", "Disease Group", OPTIONAL)
_PAIR = {"group": _GROUP, "question": ("questions",), "answer": ("answers",)}
_CHOICE = {**_PAIR, "options": ("options",)}
_SET = {**_PAIR, "number": ("question number",), "shown": ("disrupted answers",)}
_TRUE = {"对": "对", "正确": "对", "是": "对", "√": "对", "错": "错", "错误": "错", "否": "错", "×": "错"}


def read_pediabench(path: Path) -> tuple[Tally, list[Path]]:
    """All kinds that the folder has, or the one workbook that is named; its file's name says which kind it is."""
    files = find(path, [r".*(true|false|choice|pairing|essay|short|case).*\.xlsx"], "workbooks of PediaBench")
    tally = Tally()
    used = []
    for file in files:
        name = file.name.lower()
        read = next((read for word, read in _READERS.items() if word in name), None)
        if read is not None:
            read(file, tally)
            used.append(file)
    if not used:
        raise UserError("the file's name does not say which kind of PediaBench it is, for example Pairing.xlsx", path)
    return tally, used


def _true_or_false(file: Path, tally: Tally) -> None:
    for row in read_xlsx(file, _PAIR):
        answer = _TRUE.get(row["answer"])
        if not row["question"]:
            tally.drop("no question")
        elif answer is None:
            tally.drop("an answer that is neither 对 nor 错" if row["answer"] else "no right option")
        else:
            options, key = {"对": "对", "错": "错"}, (answer,)
            tally.keep(_item(row["question"], answer, row["group"], "true_false", options, key))


def _choice(file: Path, tally: Tally) -> None:
    for row in read_xlsx(file, _CHOICE):
        item = choice_item(row["question"], DEPARTMENT, row["group"])
        take_choice(tally, item, options_in(row["options"], row["answer"]), row["answer"])


def _free(kind: Kind, file: Path, tally: Tally) -> None:
    for row in read_xlsx(file, _PAIR):
        if not row["question"] or not row["answer"]:
            tally.drop("no answer" if row["question"] else "no question")
        else:
            tally.keep(_item(row["question"], row["answer"], row["group"], kind))


def _pairing(file: Path, tally: Tally) -> None:
    for rows in _sets(file):
        questions, answers, shown = ([row[name] for row in rows] for name in ("question", "answer", "shown"))
        fault = _fault(questions, answers, shown)
        if fault:
            tally.drop(fault, len(rows))
            continue
        # One text may be the answer to two questions: it is one option.
        letters = {text: chr(ord("A") + place) for place, text in enumerate(dict.fromkeys(shown))}
        text = "\n".join(f"{place}. {question}" for place, question in enumerate(questions, 1))
        options = {letter: option for option, letter in letters.items()}
        key = tuple(letters[answer] for answer in answers)
        tally.keep(_item(text, "；".join(answers), rows[0]["group"], "pairing", options, key), len(rows))


def _sets(file: Path) -> Iterator[list[dict[str, str]]]:
    """The rows of one pairing: a set begins where its first number, 问题1, comes again."""
    rows: list[dict[str, str]] = []
    for row in read_xlsx(file, _SET):
        number = re.search(r"\d+", row["number"])
        if rows and (number is None or int(number[0]) <= 1):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _fault(questions: list[str], answers: list[str], shown: list[str]) -> str | None:
    if not all(questions) or not all(answers):
        return "a pairing with an empty question or answer"
    if len(questions) < 2:
        return "a pairing of one question"
    if len(set(shown)) < 2 or len(set(questions)) < len(questions):
        return "a pairing with the same question twice, or one option"
    return None if sorted(answers) == sorted(shown) else "a pairing whose options are not its answers"


def _item(
    question: str,
    answer: str,
    group: str,
    kind: Kind,
    options: dict[str, str] | None = None,
    key: tuple[str, ...] | None = None,
) -> Item:
    return Item(
        id=item_id(kind, question, answer, options),
        messages=asked(question),
        reference=answer,
        department=DEPARTMENT,
        group=item_id(question),
        options=options,
        key=key,
        kind=kind,
        subject=group or None,
    )


_READERS: dict[str, Callable[[Path, Tally], None]] = {
    "true": _true_or_false,
    "false": _true_or_false,
    "choice": _choice,
    "pairing": _pairing,
    "essay": partial(_free, "essay"),
    "short": partial(_free, "essay"),
    "case": partial(_free, "case"),
}
