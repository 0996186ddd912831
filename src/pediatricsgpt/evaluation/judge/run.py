"""Two models judged, from their answers to `verdicts.jsonl` and `judge.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge import verdicts
from pediatricsgpt.evaluation.judge.aggregate import aggregate
from pediatricsgpt.evaluation.judge.ask import Judged, Showing, ask_judge, rater_names, requests_of, showings
from pediatricsgpt.evaluation.judge.checks import headline, teachers_too
from pediatricsgpt.evaluation.judge.present import Shown, counts, present
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS, prompt
from pediatricsgpt.evaluation.judge.questions import Pair, chosen
from pediatricsgpt.evaluation.judge.verdicts import Verdict, write_verdicts
from pediatricsgpt.evaluation.paid import ANSWERS, costs
from pediatricsgpt.evaluation.settings import JudgeSettings
from pediatricsgpt.evaluation.validation.labels import SIMULATED
from pediatricsgpt.evaluation.validation.run import read_validation
from pediatricsgpt.manifest import disk_errors, write_atomically

FILE = "judge.json"
VERDICTS = verdicts.FILE
PANEL = "panel.json"


def prepared(pair: Pair, settings: JudgeSettings) -> tuple[Pair, list[Showing]]:
    """The questions that are judged, and every showing of them: what a cost estimate and the judging share."""
    kept = chosen(pair, settings.max_items)
    return kept, showings(present(kept, settings.strip_markdown, settings.equal_length), settings.both_orders)


def workload(pair: Pair, settings: JudgeSettings) -> int:
    """Answers that `judge_pair` will report to `advance`."""
    asked = requests_of(prepared(pair, settings)[1], deidentified=False)
    return len(asked) * settings.repeats * len(settings.judges)


def judge_pair(
    pair: Pair,
    settings: JudgeSettings,
    folder: Path,
    answers: Path | None = None,
    teachers: Sequence[TeacherSettings | str] = (),
    validation: Path | None = None,
    deidentified: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Have two models' answers judged; writes `verdicts.jsonl` and `judge.json` into `folder`, and gives the latter.

    Stopped at any moment, the same call goes on where it was: nothing is asked twice.

    Args:
        pair: the models and their answers, `questions.read_pair` or `questions.joined`.
        answers: folder of the paid answers, in `folder` by default; a run keeps it outside the node's own folder.
        teachers: who wrote training data of these models; none of them may judge without a reason.
        validation: a `validation.json`; `settings.validation` is relative to a recipe, which is not known here.
        deidentified: whether no patient is in the texts; without it nothing goes to an external address.
        advance: told how many answers have just come in.

    Raises:
        UserError: a judge was a teacher, cannot be used, or the disk is full.
        BudgetReached: a judge's budget is spent; what it said until then is kept.
    """
    too = teachers_too(settings.judges, teachers, settings.may_be_teacher)
    known = read_validation(validation) if validation else None
    passed, conclusion = headline(settings.judges, known, prompt().sha256, settings.both_orders)
    kept, shown = prepared(pair, settings)
    if not kept.questions:
        raise UserError("no question is left to judge", "judge")
    names = rater_names(settings.judges)
    place = answers or folder / ANSWERS
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    judged = {
        name: ask_judge(judge, name, kept.models, shown, place, settings.repeats, deidentified, advance)
        for name, judge in zip(names, settings.judges, strict=True)
    }
    said = [verdict for one in judged.values() for verdict in one.verdicts]
    if not said:
        raise UserError("the judges' servers answered none of the requests; run again when they are up", "judge")
    judges = _judges(settings, passed, too)
    found = {**_described(kept, settings, judges, judged, said, shown), "headline": conclusion}
    write_verdicts(folder / VERDICTS, said)
    _write(folder / FILE, found)
    return found


def panel(source: Path, folder: Path, dimensions: Sequence[str] | None = None) -> dict[str, Any]:
    """Aggregate doctors' verdicts into `panel.json`, in the form of `judge.json`.

    Args:
        source: a verdicts file; raters are pseudonyms.
        folder: where `panel.json` goes.
        dimensions: in the order of the report; None takes those of the file.

    Raises:
        UserError: the file is not as it must be.
    """
    said = verdicts.read_verdicts(source)
    figures = aggregate(said, dimensions=dimensions)
    found = {
        **figures,
        "raters": sorted({verdict.rater for verdict in said}),
        "headline": _of_people(said),
    }
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write(folder / PANEL, found)
    return found


def _of_people(said: Sequence[Verdict]) -> dict[str, Any]:
    made_up = sorted({one.rater for one in said if one.rater.startswith(SIMULATED)})
    if made_up:
        return {"allowed": False, "why": f"{', '.join(made_up)} are no people: these verdicts try out the way"}
    return {"allowed": True, "why": "verdicts of people"}


def _judges(settings: JudgeSettings, passed: Sequence[bool], too: Sequence[bool]) -> list[dict[str, Any]]:
    return [
        {
            "rater": name,
            "model": judge.model,
            "base_url": judge.base_url,
            "temperature": judge.temperature,
            "validated": valid,
            "teacher_too": teacher,
            "reason": settings.may_be_teacher if teacher else None,
        }
        for name, judge, valid, teacher in zip(rater_names(settings.judges), settings.judges, passed, too, strict=True)
    ]


def _described(
    pair: Pair,
    settings: JudgeSettings,
    judges: Sequence[Mapping[str, Any]],
    judged: Mapping[str, Judged],
    said: Sequence[Verdict],
    shown: Sequence[Showing],
) -> dict[str, Any]:
    """`judge.json` but for its headline."""
    figures = aggregate(said, pair.models, DIMENSIONS)
    once = list({one.shown.question.id: one.shown for one in shown}.values())
    unanswered = {rater: one.unanswered for rater, one in judged.items() if one.unanswered}
    return {
        **figures,
        "items": len(pair.questions),
        "questions": {"only_a": pair.only_one[0], "only_b": pair.only_one[1], "left_out": pair.left_out},
        "shown": {**counts(once, pair.models), "identical": sum(one.identical for one in once)},
        "unanswered": unanswered,
        "judges": list(judges),
        "prompt": prompt().described(),
        "settings": {
            "both_orders": settings.both_orders,
            "strip_markdown": settings.strip_markdown,
            "equal_length": settings.equal_length,
            "repeats": settings.repeats,
            "max_items": settings.max_items,
        },
        "costs": costs(settings.judges, {rater: one.paid for rater, one in judged.items()}),
        "warnings": [*_warnings(pair, settings, judges, unanswered, once), *figures["warnings"]],
    }


def _warnings(
    pair: Pair,
    settings: JudgeSettings,
    judges: Sequence[Mapping[str, Any]],
    unanswered: Mapping[str, int],
    shown: Sequence[Shown],
) -> list[str]:
    said = [
        f"{rater}: the server failed on {count} requests; run the same command again, only these are asked"
        for rater, count in unanswered.items()
    ]
    said += [
        f"{judge['rater']} also wrote training data, which favours answers in its manner; the reason given: "
        f"{judge['reason']}"
        for judge in judges
        if judge["teacher_too"]
    ]
    if any(pair.only_one):
        said.append(f"only common questions are judged: {pair.only_one[0]} of A and {pair.only_one[1]} of B are not")
    if not settings.both_orders:
        said.append("each pair was shown in one order only: neither flips nor what they would cost is known")
    if settings.repeats > 1 and any(judge.temperature == 0 for judge in settings.judges):
        said.append("repeats at temperature 0 ask for the same answer again: self-consistency says little")
    if settings.equal_length and (cut := sum(any(one.cut) for one in shown)):
        said.append(f"in {cut} of {len(shown)} pairs the longer answer was cut; what stood at its end was not judged")
    if not any(one.question.reference for one in shown):
        said.append("no question has a reference answer: correctness is the judge's own knowledge")
    return said


def _write(path: Path, found: Mapping[str, Any]) -> None:
    with disk_errors(path):
        write_atomically(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
