"""cMedQA2: questions whose right answers are to be found among a hundred candidates.

The form is that of github.com/zhangsheng93/cMedQA2 (Zhang et al. 2018, doi 10.1109/ACCESS.2018.2883637): `question.csv`
(`question_id,content`), `answer.csv` (`ans_id,question_id,content`) and `test_candidates.txt`
(`question_id,ans_id,cnt,label`; of 4,000 questions 100 lines each, one or several of them with label 1).
"""

from __future__ import annotations

from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.files import WRONG_WIDTH, find, read_csv
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, asked

_QUESTION = {"id": ("question_id", "que_id"), "content": ("content",)}
_ANSWER = {"id": ("ans_id", "answer_id"), "content": ("content",)}
_CANDIDATE = {"question": ("question_id", "que_id"), "answer": ("ans_id", "answer_id"), "label": ("label",)}


def read_cmedqa2(path: Path) -> tuple[Tally, list[Path]]:
    """Questions with their candidates; they are for answer selection alone.

    Rows are lines of candidates. A question without a right or a wrong candidate is dropped with all its lines;
    a candidate without a text is dropped alone.
    """
    if path.is_file():
        raise UserError(
            "cMedQA2 is three files: name the folder with question.csv, answer.csv, test_candidates.txt", path
        )
    questions = find(path, [r"questions?\.csv"], "question.csv")[0]
    answers = find(path, [r"answers?\.csv"], "answer.csv")[0]
    listed = find(path, [r"test_candidates\.txt"], "test_candidates.txt")[0]
    texts = {row["id"]: row["content"] for row in read_csv(questions, _QUESTION) if row}
    found = {row["id"]: row["content"] for row in read_csv(answers, _ANSWER) if row}
    tally = Tally()
    groups: dict[str, list[tuple[str, bool]]] = {}
    for row in read_csv(listed, _CANDIDATE):
        if row is None or row["label"] not in ("0", "1"):
            tally.drop(WRONG_WIDTH if row is None else "a label that is neither 0 nor 1")
        elif not found.get(row["answer"]):
            tally.drop("a candidate that answer.csv lacks")
        else:
            groups.setdefault(row["question"], []).append((found[row["answer"]], row["label"] == "1"))
    for name, candidates in groups.items():
        _take(tally, name, texts.get(name, ""), candidates)
    return tally, [questions, answers, listed]


def _take(tally: Tally, name: str, question: str, candidates: list[tuple[str, bool]]) -> None:
    labels = {is_right for _, is_right in candidates}
    if not question:
        tally.drop("a question that question.csv lacks", len(candidates))
    elif labels != {True, False}:
        tally.drop("no wrong answer" if labels == {True} else "no right answer", len(candidates))
    else:
        item = Item(id=name, messages=asked(question), candidates=candidates, kind="selection")
        tally.keep(item, len(candidates))
