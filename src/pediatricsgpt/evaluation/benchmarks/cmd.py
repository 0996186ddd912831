"""CMD, Chinese-medical-dialogue-data: questions to online doctors and their answers, in six departments.

The form is that of github.com/Toyhom/Chinese-medical-dialogue-data: below `Data_数据` a folder for each department
(`Pediatric_儿科`, `IM_内科`, …) with CSV files in GB18030, columns `department,title,ask,answer`; `department` there is
a narrower one (新生儿科, 小儿消化). Also the sample of it that DISC-MedLLM was measured on: a JSON list of
`id,department,raw_case,question,raw_anwser` (so spelt).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pediatricsgpt.evaluation.benchmarks.files import WRONG_WIDTH, field_of, find, read_csv, read_json, require_fields
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, asked, item_id

DEPARTMENTS = ("妇产科", "肿瘤科", "男科", "内科", "儿科", "外科")
_COLUMNS = {name: (name,) for name in ("department", "title", "ask", "answer")}
_FIELDS = {"question": ("question",), "answer": ("raw_anwser", "raw_answer", "answer")}
_NOTHING = ("", "无", "无。", "没有", "nan")


def read_cmd(path: Path) -> tuple[Tally, list[Path]]:
    """Every question with its answer; the department is the folder's, the row's own narrower one is the subject.

    The question is title and description, one after the other, as in DISC-MedLLM's sample; a description that says
    nothing (无), or only the title again, is left out.
    """
    files = find(path, [r".*\.csv", r".*\.json"], "CSV files of departments")
    tally = Tally()
    for file in files:
        for item in _sampled(file) if file.suffix.lower() == ".json" else _rows(file, path):
            if isinstance(item, str):
                tally.drop(item)
            else:
                tally.keep(item)
    return tally, files


def _rows(file: Path, root: Path) -> Iterator[Item | str]:
    folder = _department(file, root)
    for row in read_csv(file, _COLUMNS):
        if row is None:
            yield WRONG_WIDTH
            continue
        question = _question(row["title"], row["ask"])
        if not question:
            yield "no question"
        elif row["answer"] in _NOTHING:
            yield "no answer"
        else:
            department = folder or row["department"] or None
            yield Item(
                id=item_id(department, question, row["answer"]),
                messages=asked(question),
                reference=row["answer"],
                department=department,
                group=item_id(question),
                subject=row["department"] or None,
            )


def _question(title: str, ask: str) -> str:
    if ask in _NOTHING or ask == title:
        return "" if title in _NOTHING else title
    return ask if title in _NOTHING or ask.startswith(title) else f"{title} {ask}"


def _department(file: Path, root: Path) -> str | None:
    """The department that the file or a folder above it, no higher than the one that was named, is called after."""
    below = file.relative_to(root).parts if root.is_dir() else (file.name,)
    for name in (*reversed(below), root.name):
        named = [department for department in DEPARTMENTS if department in name]
        if named:
            return named[0]
    return None


def _sampled(file: Path) -> Iterator[Item | str]:
    rows = read_json(file)
    require_fields(rows, _FIELDS, file)
    for row in rows:
        question, answer = (field_of(row, names) for names in _FIELDS.values())
        if question in _NOTHING:
            yield "no question"
        elif answer in _NOTHING:
            yield "no answer"
        else:
            yield Item(
                id=field_of(row, ("id",)) or item_id(question, answer),
                messages=asked(question),
                reference=answer,
                department=field_of(row, ("department",)) or None,
                group=item_id(question),
                subject=field_of(row, ("raw_case",)) or None,
            )
