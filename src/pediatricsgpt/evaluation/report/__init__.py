"""The report of a run: one HTML file that needs nothing but itself, written from what is in the run's folder.

It lies in a folder of its own so that its templates do not count as data of the other evaluation modules: a changed
word in the report must not make a finished evaluation outdated (`manifest.code_version`).
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.compare import compared
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import (
    corpus,
    drops,
    leakage,
    licences,
    lineage,
    overview,
    pipeline,
    routing,
    shortcuts,
    teacher,
    training,
    words,
)
from pediatricsgpt.evaluation.report.answers import answers
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.published import doubts, published
from pediatricsgpt.evaluation.report.scores import losses, measured
from pediatricsgpt.manifest import write_atomically

REPORT = "report.html"
_TEMPLATE = "report_html.jinja"


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
    grounds = licences.grounds(run)
    values = {
        "overview": overview.overview(run),
        "notices": overview.notices(run, steps, checks, phases, style, loss, scores),
        "summary": overview.chinese_summary(run, checks, phases, style, loss, scores),
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
        "doubts": doubts(),
        "answers": answers(items),
        "entries": lineage.entries(run),
        "descents": lineage.descents(run),
    }
    return _environment().get_template(_TEMPLATE).render(values)


def _environment() -> Environment:
    """Every value is escaped: what models and sources say is never trusted."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        signed=words.signed,
        duration=words.duration,
        memory=words.memory,
        day=words.day,
        model=words.model,
        metric=words.metric,
        brief=words.brief,
        percent=words.percent,
        step=words.step,
    )
    environment.globals.update(
        METRICS=METRICS,
        label=words.label,
        personal=words.personal,
        style=words.style,
        marks=pipeline.MARKS,
        short_hash=lineage.SHORT_HASH,
    )
    return environment
