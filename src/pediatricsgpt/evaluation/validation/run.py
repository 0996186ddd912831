"""Validating judges: their verdicts asked for or read, compared with a reference, written to `validation.json`."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.ask import Judged, Showing, ask_judge, forecast, showings
from pediatricsgpt.evaluation.judge.decide import Outcome, held
from pediatricsgpt.evaluation.judge.present import present
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS, prompt
from pediatricsgpt.evaluation.judge.questions import Pair
from pediatricsgpt.evaluation.judge.verdicts import Verdict
from pediatricsgpt.evaluation.paid import Forecast, costs
from pediatricsgpt.evaluation.settings import JudgeSettings
from pediatricsgpt.evaluation.validation.figures import BAR, validation_of
from pediatricsgpt.evaluation.validation.labels import opinions_on, pair_id
from pediatricsgpt.evaluation.validation.reference import Reference
from pediatricsgpt.manifest import disk_errors, write_atomically

# Names under which the two consultations of any pair are judged: neither says a model
_SIDES = ("a", "b")


def with_answers(reference: Reference, answered: Pair, max_pairs: int | None = None) -> Reference:
    """The labelled pairs with the answers that a judge is to see.

    Args:
        reference: labels of people.
        answered: the two models' answers; labels on other models or questions are left out, and counted.
        max_pairs: pairs at most, in the order of the answers' ids by hash.

    Raises:
        UserError: none of the labels is on these answers.
    """
    from pediatricsgpt.evaluation.benchmarks import by_hash

    questions = {question.id: question for question in answered.questions}
    a, b = sorted(answered.models)
    kept = []
    for pair in reference.pairs:
        question = questions.get(pair.group)
        if question is not None and pair.models == (a, b):
            sides = question.answers if answered.models == (a, b) else question.answers[::-1]
            shown = dataclasses.replace(question, id=pair.id, answers=sides, group=pair.group)
            kept.append(dataclasses.replace(pair, question=shown))
    if not kept:
        known = sorted({" and ".join(pair.models) for pair in reference.pairs})
        raise UserError(
            f"no label is on an answer of {a} and {b}; they are on {'; '.join(known)} (--names says which)",
            reference.against,
        )
    kept.sort(key=lambda pair: by_hash(pair.id))
    counts = {**reference.counts, "labels_without_answers": len(reference.pairs) - len(kept)}
    return dataclasses.replace(reference, pairs=tuple(kept[:max_pairs]), counts=counts)


def forecast_judge(reference: Reference, judge: TeacherSettings, folder: Path) -> Forecast:
    """What asking the judge about all pairs will still cost at most.

    Args:
        reference: pairs with what is to be shown.
        judge: who is validated.
        folder: of the paid answers, which need not be there yet.
    """
    return forecast(JudgeSettings(judges=[judge]), _shown(reference), folder)[0]


def ask(
    reference: Reference,
    judge: TeacherSettings,
    folder: Path,
    bar: float = BAR,
    deidentified: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Ask a judge about every pair, with the prompt and the machinery of `pedgpt judge`, in both orders.

    Args:
        reference: pairs with what is to be shown.
        judge: who is validated.
        folder: of the paid answers; the same call goes on where it was stopped.
        bar: what the lower bound of kappa must exceed.
        deidentified: whether no patient is in the texts.
        advance: told how many answers have just come in.

    Returns:
        The judge's entry in `validation.json`.

    Raises:
        UserError, BudgetReached: as `judge.ask.ask_judge`.
    """
    said = ask_judge(judge, judge.model, _SIDES, _shown(reference), folder, 1, deidentified, advance)
    entry = _entry(reference, _held(said.verdicts, _SIDES[0]), bar)
    entry |= {
        "model": judge.model,
        "base_url": judge.base_url,
        "prompt": prompt().described(),
        "settings": {"both_orders": True, "strip_markdown": True, "equal_length": False, "repeats": 1},
        "invalid": _invalid(said),
        "unanswered": said.unanswered,
        "costs": costs([judge], {judge.model: said.paid}),
    }
    return entry


def compare(reference: Reference, verdicts: Sequence[Verdict], bar: float = BAR) -> dict[str, dict[str, Any]]:
    """Judges' verdicts that are there already, against a reference; entries by rater.

    Args:
        reference: labels of people, on the same questions and models.
        verdicts: of one judge or more.
        bar: what the lower bound of kappa must exceed.

    Raises:
        UserError: no verdict is on a pair that has a label.
    """
    labelled = {pair.id for pair in reference.pairs}
    found: dict[str, dict[str, dict[str, Outcome]]] = {}
    for dimension in DIMENSIONS:
        for rater, opinions in opinions_on(verdicts, dimension).items():
            named = {pair_id(*item): outcome for item, outcome in opinions.items() if pair_id(*item) in labelled}
            if named:
                found.setdefault(rater, {})[dimension] = named
    if not found:
        raise UserError(
            "no verdict of the judge is on a question and a pair of models that has a label", reference.against
        )
    entries = {}
    for rater, judged in found.items():
        about = {name for named in judged.values() for name in named}
        pairs = tuple(pair for pair in reference.pairs if pair.id in about)
        counts = {**reference.counts, "labels_without_verdicts": len(reference.pairs) - len(pairs)}
        entries[rater] = _entry(dataclasses.replace(reference, pairs=pairs, counts=counts), judged, bar)
    return entries


def write_validation(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put entries into `validation.json`; those of other judges that it holds stay.

    Raises:
        UserError: the file that is there is none of ours, or the disk refuses.
    """
    judges = dict(read_validation(path)["judges"]) if path.exists() else {}
    content = {"judges": {**judges, **entries}}
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return content


def read_validation(path: Path) -> dict[str, Any]:
    """The content of a `validation.json`.

    Raises:
        UserError: it cannot be read or has another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        judges = content["judges"]
        if not all(isinstance(judges[rater]["passed"], bool) for rater in judges):
            raise TypeError("passed")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("this is no validation of judges; name another file", path) from error
    return dict(content)


def _entry(reference: Reference, judged: Mapping[str, Mapping[str, Outcome]], bar: float) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {**validation_of(reference, judged, bar), "date": today}


def _shown(reference: Reference) -> list[Showing]:
    questions = tuple(pair.question for pair in reference.pairs if pair.question is not None)
    assert len(questions) == len(reference.pairs)
    return showings(present(Pair(_SIDES, questions), strip=True, equal=False), both_orders=True)


def _held(verdicts: Sequence[Verdict], a: str) -> dict[str, dict[str, Outcome]]:
    return {
        dimension: held([one for one in verdicts if one.dimension == dimension], a).outcomes for dimension in DIMENSIONS
    }


def _invalid(said: Judged) -> int:
    """Showings that the judge answered without a verdict."""
    return len({(one.id, one.order) for one in said.verdicts if one.verdict == "invalid"})
