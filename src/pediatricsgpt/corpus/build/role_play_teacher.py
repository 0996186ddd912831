"""Role-playing instruction building (paper section 3) with a teacher: inquirer, then pediatrician.

From a span of a source, the teacher first plays an inquirer who asks a question of a wanted type, then an experienced
pediatrician who answers from that span alone and says on which words of it. Classical books and lists of names are not
given to a teacher: a teacher's fluent answer would hide what an old prescription is.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.build import role_play
from pediatricsgpt.corpus.build.fidelity import check
from pediatricsgpt.corpus.build.pieces import pieces
from pediatricsgpt.corpus.build.rows import instruction_row, rank
from pediatricsgpt.corpus.build.teacher import Built, OnDone, Prompt, ask, is_deidentified, passed, prompt
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.settings import RolePlaySettings
from pediatricsgpt.corpus.task import is_question
from pediatricsgpt.endpoint import Endpoint
from pediatricsgpt.records import Message, Record, Reject

VERSION = 1
RULE = "role_play"
MIN_EVIDENCE_KEY = 6
QuestionType = Literal[
    "definition", "cause", "symptom", "differential", "examination", "treatment", "prognosis", "care", "prevention"
]
_POINTS_ELSEWHERE = re.compile(
    r"(?:这段|上述|以上|上文|本文|文中|该段)(?:资料|材料|文字|内容|原文)?|资料中|根据资料|该病"
)


class Asked(BaseModel):
    """What the inquirer says."""

    type: QuestionType
    question: str = Field(min_length=4, max_length=200)


class Grounded(BaseModel):
    """What the pediatrician says, and the words of the span that it rests on."""

    answer: str = Field(min_length=2)
    evidence: list[str]


@dataclass(slots=True)
class _Job:
    record: Record
    span: str
    wanted: str
    asked: Asked | None = None

    def reject(self, reason: str) -> Reject:
        where = f"{self.record.source.file}, {self.record.source.locator}"
        question = self.asked.question if self.asked else ""
        row = {"id": self.record.id, "title": self.record.title, "text": self.span, "question": question}
        return Reject(RULE, reason, where, row)


def build(records: Iterable[Record], settings: RolePlaySettings, teacher: Endpoint, on_done: OnDone = None) -> Built:
    """A question and its answer from every span of the sections of text; other shapes are passed over.

    Returns:
        Rows, rejects and passes; `read` counts spans (and the sections that are not given to the teacher), `counts` has
        the rows by type of question. `treatment` rows of pediatric sections are `trerecom`, others `medkqa` or
        `general`.

    Raises:
        UserError, BudgetReached: as `Endpoint.ask_all`; a later run goes on with what is paid for.
    """
    built, jobs = _planned(records, settings)
    _inquire(jobs, teacher, built, on_done)
    _answer([job for job in jobs if job.asked], settings, teacher, built, on_done)
    return built


def requests(
    records: Iterable[Record], settings: RolePlaySettings, question: str
) -> tuple[list[list[Message]], list[list[Message]]]:
    """What `build` will ask, for an estimate: the inquiries, and the answers' prompts with `question` in place."""
    _, jobs = _planned(records, settings)
    inquirer, pediatrician = prompt("inquirer"), prompt("pediatrician")
    answers = [pediatrician.messages(title=_title(job), span=job.span, question=question) for job in jobs]
    return [_inquiry(inquirer, job) for job in jobs], answers


def _planned(records: Iterable[Record], settings: RolePlaySettings) -> tuple[Built, list[_Job]]:
    """What is done without the teacher, and the spans that are for it, each with the type of its question."""
    sections = [record for record in records if record.shape == "text"]
    classical = role_play.classical_books(sections)
    by_hand = [record for record in sections if record.source.file_hash in classical]
    rows, rejects = role_play.instructions(by_hand, settings)
    built = Built(rows, rejects, read=len(by_hand))
    jobs: list[_Job] = []
    for record in sections:
        if record.source.file_hash not in classical:
            jobs += _jobs(record, settings, built)
    _balance(jobs)
    return built, jobs


def _jobs(record: Record, settings: RolePlaySettings, built: Built) -> list[_Job]:
    """The spans of a section; a section that holds nothing to ask for is rejected."""
    heading = role_play.without_number((record.title or [""])[-1])
    text = role_play.statement(record) if record.source.kind == "knowledge_graph" else record.text
    spans = pieces(text, settings.max_span_characters)
    jobs = [_Job(record, span, "") for span in spans]
    reason = ""
    if pattern("questions", "no_text").search(heading):
        reason = "heading says nothing to ask for"
    elif not spans or len(text) < settings.min_answer_characters:
        reason = f"section too short: {len(text)} characters"
    if reason:
        built.read += 1
        built.rejects.append(_Job(record, text, "").reject(reason))
        return []
    built.read += len(jobs)
    return jobs


def _balance(jobs: Sequence[_Job]) -> None:
    """Give each span the type that is asked for least so far, among those that its words allow.

    The order is that of ranks, so that the choice depends on what the spans say alone.
    """
    asked: Counter[str] = Counter()
    for job in sorted(jobs, key=lambda job: rank(0, job.record.id, job.span)):
        fitting = [name for name, kind in types().items() if re.search(kind["words"], f"{_title(job)}\n{job.span}")]
        job.wanted = min(fitting or list(types()), key=lambda name: asked[name])
        asked[job.wanted] += 1


def _inquire(jobs: Sequence[_Job], teacher: Endpoint, built: Built, on_done: OnDone) -> None:
    inquirer = prompt("inquirer")
    step = inquirer.step("role_play:inquirer", VERSION, teacher)
    given = ((_inquiry(inquirer, job), is_deidentified(job.record)) for job in jobs)
    for job, asked in zip(jobs, ask(teacher, given, Asked, on_done), strict=True):
        reasons = [f"inquirer: {asked}"] if isinstance(asked, str) else _question_problems(job, asked)
        built.passes.append(passed(job.record.id, step, asked, reasons))
        if reasons:
            built.rejects.append(job.reject(reasons[0]))
        elif isinstance(asked, Asked):
            job.asked = asked


def _inquiry(inquirer: Prompt, job: _Job) -> list[Message]:
    labels = {name: kind["label"] for name, kind in types().items()}
    others = "、".join(f"{name}（{label}）" for name, label in labels.items() if name != job.wanted)
    case = _file()["case"] if job.record.pediatric else ""
    wanted = f"{job.wanted}（{labels[job.wanted]}）"
    return inquirer.messages(wanted=wanted, types=others, case=case, title=_title(job), span=job.span)


def _question_problems(job: _Job, asked: Asked) -> list[str]:
    if found := _POINTS_ELSEWHERE.search(asked.question):
        return [f"question points elsewhere: {found.group()}"]
    if not any(map(is_question, chinese.sentences(asked.question))):
        return ["no question: a statement in its place"]
    return [f"question {reason}" for reason in check(f"{_title(job)}\n{job.span}", asked.question, "grounded")]


def _answer(jobs: Sequence[_Job], settings: RolePlaySettings, teacher: Endpoint, built: Built, on_done: OnDone) -> None:
    pediatrician = prompt("pediatrician")
    inquiry = prompt("inquirer").step("role_play:inquirer", VERSION, teacher)
    step = pediatrician.step(RULE, VERSION, teacher)
    given = (
        (
            pediatrician.messages(title=_title(job), span=job.span, question=_asked(job).question),
            is_deidentified(job.record),
        )
        for job in jobs
    )
    types_kept: Counter[str] = Counter()
    for job, said in zip(jobs, ask(teacher, given, Grounded, on_done), strict=True):
        reasons = [f"pediatrician: {said}"] if isinstance(said, str) else _answer_problems(job, said, settings)
        built.passes.append(passed(job.record.id, step, said, reasons))
        if reasons or isinstance(said, str):
            built.rejects.append(job.reject(reasons[0]))
            continue
        asked = _asked(job)
        messages: list[Message] = [
            {"role": "user", "content": asked.question.strip()},
            {"role": "assistant", "content": said.answer.strip()},
        ]
        types_kept[asked.type] += 1
        built.rows.append(instruction_row(job.record, messages, _task(job), inquiry, step))
    built.counts["question_types"] = {name: types_kept[name] for name in types()}


def _answer_problems(job: _Job, said: Grounded, settings: RolePlaySettings) -> list[str]:
    """Why an answer is not kept: too short, the question again, no evidence, or more than the span says."""
    if len(said.answer) < settings.min_answer_characters:
        return [f"answer too short: {len(said.answer)} characters"]
    if chinese.key(said.answer) in chinese.key(_asked(job).question):
        return ["answer repeats the question: it says nothing else"]
    span = chinese.key(job.span)
    quoted = [key for quote in said.evidence if len(key := chinese.key(quote)) >= MIN_EVIDENCE_KEY]
    if not any(key in span for key in quoted):
        return ["no evidence: none of the quoted words stands in the span"]
    return check(f"{_title(job)}\n{job.span}", said.answer, "grounded", context=_asked(job).question)


def _task(job: _Job) -> str:
    if not job.record.pediatric:
        return "general"
    return "trerecom" if _asked(job).type == "treatment" else "medkqa"


def _asked(job: _Job) -> Asked:
    assert job.asked is not None
    return job.asked


def _title(job: _Job) -> str:
    return " ".join(filter(None, map(role_play.without_number, job.record.title))) or "（无）"


def types() -> dict[str, dict[str, str]]:
    """The nine types of questions with their labels and words."""
    found: dict[str, dict[str, str]] = _file()["types"]
    return found


@functools.cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        resources.files(__package__).joinpath("question_types.yaml").read_text(encoding="utf-8")
    )
    return content
