"""The page of `pedgpt compare`: every question with every model's answer, and nothing else."""

from __future__ import annotations

from pathlib import Path

from pediatricsgpt.evaluation.compare.questions import Questions
from pediatricsgpt.evaluation.report.answers import answers
from pediatricsgpt.evaluation.report.explorer import explorer
from pediatricsgpt.evaluation.report.page import page
from pediatricsgpt.manifest import write_atomically

_TEMPLATE = "compare_html.jinja"


def write_side_by_side(questions: Questions, path: Path) -> Path:
    """Write the page; the same questions give the same bytes. Nothing is left out for size.

    Raises:
        OSError: it cannot be written.
    """
    values = {"questions": questions, "answers": answers(questions.items), "explorer": explorer(questions, limit=None)}
    write_atomically(path, page(_TEMPLATE, values).encode("utf-8", "replace").decode("utf-8"))
    return path
