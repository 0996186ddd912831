"""The report of a run: one HTML file that needs nothing but itself, written from what is in the run's folder.

It lies in a folder of its own so that its templates do not count as data of the other evaluation modules: a changed
word in the report must not make a finished evaluation outdated (`code_version`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.compare import MODELS, compared
from pediatricsgpt.evaluation.compare.questions import HELD_OUT, Questions, questions_of_run
from pediatricsgpt.evaluation.report import (
    benchmarks,
    consultations,
    corpus,
    costs,
    drops,
    judge,
    leakage,
    licences,
    lineage,
    models,
    overview,
    pipeline,
    routing,
    rubrics,
    safety,
    shortcuts,
    summary,
    teacher,
    training,
)
from pediatricsgpt.evaluation.report.answers import answers
from pediatricsgpt.evaluation.report.explorer import explorer
from pediatricsgpt.evaluation.report.files import BENCHMARKS, RunFiles
from pediatricsgpt.evaluation.report.page import page
from pediatricsgpt.evaluation.report.published import NOT_OURS, doubts, published, published_data, published_verdicts
from pediatricsgpt.evaluation.report.scores import losses, measured
from pediatricsgpt.evaluation.report.singles import item_scores
from pediatricsgpt.manifest import write_atomically

REPORT = "report.html"
_TEMPLATE = "report_html.jinja"
_CONTENTS = {
    "pipeline": "Pipeline",
    "corpus": "What went in",
    "deidentification": "De-identification",
    "leakage": "Leakage",
    "licences": "Licences",
    "training": "Training",
    "loss": "Held-out loss",
    "metrics": "Metrics",
    "benchmarks": "Benchmarks",
    "judge": "Judge",
    "panel": "Doctors",
    "rubrics": "Rubrics",
    "consultations": "Consultations",
    "safety": "Safety suite",
    "costs": "Costs",
    "answers": "Answers side by side",
    "lineage": "Lineage",
}
_OWN = ("corpus", "deidentification", "leakage", "licences", "training", "loss", "metrics")
"""Sections of what a run builds and trains itself"""


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder, from whatever is there; the same files give the same bytes.

    Raises:
        UserError: there is no such folder, or a file in it is damaged; the file is named.
    """
    if not run_folder.is_dir():
        raise UserError("no such run folder", run_folder)
    path = run_folder / REPORT
    # Text that came out of damaged JSON may hold half characters, which UTF-8 cannot.
    write_atomically(path, render(RunFiles(run_folder)).encode("utf-8", "replace").decode("utf-8"))
    return path


def render(run: RunFiles) -> str:
    """The report as one HTML page.

    Raises:
        UserError: a file of the run is damaged; it is named.
    """
    steps, style = pipeline.steps(run), shortcuts.shortcuts(run)
    checks, phases, items = overview.checks(run), training.phases(run), compared(run.folder)
    loss, scores = losses(run), measured(run, items)
    grounds, questions = licences.grounds(run), questions_of_run(run.folder, models.order(run))
    more, own = _sections(run), overview.chinese_summary(run, checks, phases, style, loss, scores)
    values = {
        "comparison": run.is_comparison,
        "contents": _contents(run, more),
        "overview": overview.overview(run),
        "notices": overview.notices(run, steps, checks, phases, style, loss, scores),
        "summary": [*([] if run.is_comparison else own), *_chinese(more)],
        "steps": steps,
        "picture": pipeline.picture(steps),
        "sources": corpus.sources(run),
        "drops": drops.drops(run),
        "sets": corpus.sets(run),
        "expert_tasks": corpus.expert_tasks(run),
        "labels": corpus.label_tables(run),
        "deidentification": checks.deidentification,
        "leakage": checks.groups,
        "against": checks.against,
        "matches": leakage.matches(run),
        "grounds": grounds,
        "licences": licences.licences(grounds),
        "usage": teacher.usage(run),
        "passes": teacher.passes(run),
        "phases": phases,
        "shortcuts": style,
        "routing": routing.routing(run),
        "chosen_warning": training.chosen_warning,
        "losses": loss,
        "scores": scores,
        "published": published(),
        "published_data": published_data(),
        "not_ours": NOT_OURS,
        "doubts": doubts(),
        **more,
        "published_judge": published_verdicts("judge"),
        "published_panel": published_verdicts("panel"),
        "answers": answers(questions.items),
        "explorer": explorer(questions, _rouge(run, questions)),
        "entries": lineage.entries(run),
        "descents": lineage.descents(run),
    }
    return page(_TEMPLATE, values)


def _contents(run: RunFiles, found: dict[str, Any]) -> list[tuple[str, str]]:
    """(id, title) of the sections that are there."""
    there = {**dict.fromkeys(_OWN, not run.is_comparison), **{name: bool(one) for name, one in found.items()}}
    there["judge"] = bool(found["judged"] or found["validation"])
    return [(name, title) for name, title in _CONTENTS.items() if there.get(name, True)]


def _chinese(found: dict[str, Any]) -> list[tuple[str, str]]:
    names = ("benchmarks", "judged", "panel", "rubrics", "consultations")
    return summary.chinese(*(found[name] for name in names))


def _sections(run: RunFiles) -> dict[str, Any]:
    """Sections that appear only where their files exist."""
    return {
        "benchmarks": benchmarks.benchmarks(run),
        "judged": judge.judged(run),
        "panel": judge.panel(run),
        "validation": judge.validation(run),
        "rubrics": rubrics.rubrics(run),
        "consultations": consultations.consultations(run),
        "safety": safety.safety(run),
        "costs": costs.costs(run),
    }


def _rouge(run: RunFiles, questions: Questions) -> dict[tuple[str, str], dict[str, float]]:
    """ROUGE-L of every answer that was scored by itself, times 100."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for benchmark in {item.benchmark: None for item in questions.items}:
        for model in questions.models:
            ours = benchmark == HELD_OUT and model in MODELS
            folder = "evaluation" if ours else f"{BENCHMARKS}/{benchmark}"
            scored = item_scores(run, f"{folder}/{model}/item_scores.jsonl")
            for item, values in scored.items():
                if "rouge-l" in values:
                    found.setdefault((benchmark, item), {})[model] = 100 * values["rouge-l"]
    return found
