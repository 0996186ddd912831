"""Multiple choice of Chinese medical examinations: CMB, CMExam and the mainland part of MedQA.

CMB (github.com/FreedomIntelligence/CMB, its README): JSON lists of `id,exam_type,exam_class,exam_subject,question,
question_type,option{letter: text}` and, but in the test set, `answer`; the test set's answers are a list of their own
(`CMB-test-choice-answer.json`, by `id`). Letters without a text occur, and are no options. Its clinical cases
(`CMB-Clin-qa.json`) have `title,description,QA_pairs[{question,answer}]`.

CMExam (github.com/williamliujl/CMExam): CSV with `Question,Options,Answer,Explanation`, the test set with
`Disease Group,Clinical Department,Medical Discipline,…` too; options stand in lines, the letter before a space.

MedQA (github.com/jind11/MedQA, `questions/Mainland`): JSON lines of `question,options{letter: text},answer` (the text),
`meta_info` (the subject) and `answer_idx`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.files import (
    OPTIONAL,
    WRONG_WIDTH,
    field_of,
    find,
    read_csv,
    read_json,
    require_fields,
)
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, asked, item_id
from pediatricsgpt.text import normalise

_OPTION = re.compile(r"(?m)^\s*[(（]?([A-Z])[)）]?[\s.．、。：:,，]*(?=\S)")
_INLINE = re.compile(r"(?<![A-Za-z])([A-Z])\s?[.．](?=\s*\S)\s*")
_CMB_ANSWERS = "CMB-test*answer*.json"
_CMB_FIELDS = {"question": ("question", "QA_pairs"), "option": ("option", "QA_pairs")}
_CMEXAM = {
    "question": ("Question",),
    "options": ("Options",),
    "answer": ("Answer",),
    "department": ("Clinical Department", OPTIONAL),
    "subject": ("Medical Discipline", OPTIONAL),
}
_MEDQA_FIELDS = {name: (name,) for name in ("question", "options", "answer")}


def read_cmb(path: Path) -> tuple[Tally, list[Path]]:
    """CMB-Exam, the test set before the validation set where both are there; or CMB-Clin where its file is named."""
    names = [r"CMB-test.*question.*\.json", r"CMB-val.*\.json", r"CMB-Clin.*\.json", r"(?!.*answer).*\.json"]
    file = find(path, names, "CMB-test-choice-question-merge.json")[0]
    rows = read_json(file)
    require_fields(rows, _CMB_FIELDS, file)
    answers, files = {}, [file]
    if not any(field_of(row, ("answer",)) or (isinstance(row, dict) and "QA_pairs" in row) for row in rows):
        beside = _answers_beside(file, path)
        answers = {field_of(row, ("id",)): field_of(row, ("answer",)) for row in read_json(beside)}
        files.append(beside)
    tally = Tally()
    for row in rows:
        if isinstance(row, dict) and "QA_pairs" in row:
            _take_case(tally, row)
        elif not isinstance(row, dict):
            tally.drop("no JSON object")
        else:
            name = field_of(row, ("id",))
            labels = field_of(row, ("exam_subject",)), field_of(row, ("exam_class", "exam_type"))
            item = choice_item(field_of(row, ("question",)), *labels, name)
            kind = field_of(row, ("question_type",))
            letters = field_of(row, ("answer",)) or answers.get(name, "")
            take_choice(tally, item, row.get("option"), letters, "多" in kind if kind else None)
    return tally, files


def _answers_beside(file: Path, path: Path) -> Path:
    below = sorted(path.rglob(_CMB_ANSWERS)) if path.is_dir() else []
    above = [one for folder in (file.parent, *file.parents[1:4]) for one in sorted(folder.glob(_CMB_ANSWERS))]
    if below or above:
        return (below or above)[0]
    raise UserError("the questions have no answers, and CMB-test-choice-answer.json is not beside them", file)


def _take_case(tally: Tally, row: Mapping[str, Any]) -> None:
    """Each question on a case as an item of its own; the case is their group."""
    case = field_of(row, ("description",))
    pairs = [pair for pair in row["QA_pairs"] if field_of(pair, ("question",)) and field_of(pair, ("answer",))]
    if not case or not pairs:
        tally.drop("a case without text or answers")
        return
    for place, pair in enumerate(pairs):
        question = f"{case}\n\n{field_of(pair, ('question',))}"
        answer = field_of(pair, ("answer",))
        group, subject = item_id(case), field_of(row, ("title",)) or None
        item = Item(item_id(question, answer), asked(question), answer, group=group, kind="case", subject=subject)
        tally.keep(item, rows=0 if place else 1)


def read_cmexam(path: Path) -> tuple[Tally, list[Path]]:
    """CMExam, the annotated test set where a folder has several."""
    file = find(path, [r"test_with_annotations\.csv", r"test.*\.csv", r"val.*\.csv"], "test_with_annotations.csv")[0]
    tally = Tally()
    for row in read_csv(file, _CMEXAM):
        if row is None:
            tally.drop(WRONG_WIDTH)
        else:
            item = choice_item(row["question"], row["department"], row["subject"])
            take_choice(tally, item, options_in(row["options"], row["answer"]), row["answer"])
    return tally, [file]


def read_medqa(path: Path) -> tuple[Tally, list[Path]]:
    """The mainland part of MedQA; of a folder its test set, with four options where that version is there."""
    files = find(path, [r"test\.jsonl", r".*test.*\.jsonl?", r".*\.jsonl"], "test.jsonl")
    preferred = [file for file in files if "mainland" in str(file).lower()] or files
    file = next((file for file in preferred if "4_options" in str(file)), preferred[0])
    rows = read_json(file)
    require_fields(rows, _MEDQA_FIELDS, file)
    tally = Tally()
    for row in rows:
        subject = field_of(row, ("meta_info",))
        options = row.get("options") if isinstance(row, dict) else None
        letters = field_of(row, ("answer_idx",)) or _letter_of(options, field_of(row, ("answer",)))
        take_choice(tally, choice_item(field_of(row, ("question",)), subject, subject), options, letters)
    return tally, [file]


def _letter_of(options: Any, text: str) -> str:
    if not isinstance(options, dict):
        return ""
    return next((str(letter) for letter, option in options.items() if str(option).strip() == text), "")


def options_in(text: str, letters: str = "") -> dict[str, str]:
    """Options that stand in lines: `A 肺炎`, `B.哮喘`, `Ｃ、支气管炎`, `D。感冒`.

    Args:
        letters: the right ones. Where lines do not give all of them, options stand side by side (`A.肺炎B.哮喘`).
    """
    text = normalise(text)
    found = _split(text, _OPTION)
    return found if set(letters) <= set(found) and len(found) > 1 else _split(text, _INLINE)


def _split(text: str, mark_of: re.Pattern[str]) -> dict[str, str]:
    marks = list(mark_of.finditer(text))
    found: dict[str, str] = {}
    for place, mark in enumerate(marks):
        end = marks[place + 1].start() if place + 1 < len(marks) else len(text)
        # Letters follow each other: a line inside an option may begin with a letter, too (A 族链球菌).
        if mark[1] == chr(ord("A") + len(found)):
            found[mark[1]] = text[mark.end() : end].strip()
        elif found:
            last = chr(ord("A") + len(found) - 1)
            found[last] = f"{found[last]}\n{text[mark.start() : end].strip()}"
    return found


def take_choice(tally: Tally, item: Item, options: Any, letters: str, several: bool | None = None) -> None:
    """Keep a question with options, or drop it with what is wrong.

    Args:
        item: the question and its labels; without an id it gets one from what it says.
        options: letter -> text; letters without a text are no options.
        letters: the right ones, `B` or `ACD`, with or without signs between them.
        several: whether the question asks for several; None: the number of right letters says it.
    """
    texts = {str(letter).strip(): str(text).strip() for letter, text in options.items()} if options else {}
    texts = {letter: text for letter, text in texts.items() if text and re.fullmatch("[A-Z]", letter)}
    key = tuple(sorted(set(re.findall("[A-Z]", normalise(letters).upper()))))
    fault = _fault(texts, key, several) if item.question else "no question"
    if fault:
        tally.drop(fault)
        return
    item.options, item.key, item.kind = texts, key, "choice"
    item.reference = "；".join(texts[letter] for letter in key)
    item.group = item.group or item_id(item.question)
    item.id = item.id or item_id(item.question, texts, list(key))
    tally.keep(item)


def choice_item(question: str, department: str = "", subject: str = "", name: str = "") -> Item:
    """What `take_choice` completes; empty texts are unknown."""
    return Item(name, asked(question.strip()), department=department or None, subject=subject or None)


def _fault(options: Mapping[str, str], key: Iterable[str], several: bool | None) -> str | None:
    key = list(key)
    if len(options) < 2:
        return "no options"
    if not key:
        return "no right option"
    if not set(key) <= set(options):
        return "an answer that names no option"
    if several is False and len(key) > 1:
        return "several right options of a question that asks for one"
    return "the same option twice" if len(set(options.values())) < len(options) else None
