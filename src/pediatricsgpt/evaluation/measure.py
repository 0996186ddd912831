"""One model on one benchmark: its answers and their scores, its choices, its selection of answers.

A model on this machine or at an address answers here (`measure`); answers that were given elsewhere, a peer's for
example, are taken over item by item (`adopt`). Both write the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import CHOSEN, FREE, Benchmark, Item
from pediatricsgpt.evaluation.choices import (
    NO_ENDPOINT,
    NO_SINGLE,
    Choice,
    ChoicePrompt,
    LetterLikelihood,
    choice_prompt,
    single,
    write_choices,
)
from pediatricsgpt.evaluation.given import given_answers
from pediatricsgpt.evaluation.predictions import PREDICTIONS
from pediatricsgpt.evaluation.scoring import write_scores
from pediatricsgpt.evaluation.selection import CandidateLikelihood, write_selection
from pediatricsgpt.evaluation.settings import EvaluationSettings
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.models.answers import Answerer, CutOff, Prompt, Unanswered, answer_all
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import Message, write_json_lines

ABOUT = "benchmark.json"
GIVEN = "the answers were given elsewhere"
Advance = Callable[[int], None]


@dataclass(slots=True)
class _Work:
    """What a measurement goes on with where it was interrupted."""

    folder: Path
    advance: Advance
    failed_as_empty: bool
    kept: list[Path] = field(default_factory=list)
    failed: int = 0

    def ask(
        self, answerer: Answerer, items: Sequence[Item], prompts: Sequence[Sequence[Message]], name: str
    ) -> list[str]:
        """Answers to all prompts, kept in a file beside the results until everything is done."""
        path = self.folder / f"{name}.answers"
        self.kept.append(path)
        wanted = [Prompt(item.id, prompt) for item, prompt in zip(items, prompts, strict=True)]
        try:
            return answer_all(answerer, wanted, path, self.advance)
        except Unanswered as error:
            if not self.failed_as_empty:
                raise
            self.failed += len(error.reasons)
            return [error.answers.get(index, "") for index in range(len(wanted))]


def measure(
    answerer: Answerer,
    loaded: Loaded | None,
    benchmark: Benchmark,
    folder: Path,
    settings: EvaluationSettings,
    name: str,
    advance: Advance = lambda _: None,
    failed_as_empty: bool = False,
) -> dict[str, Any]:
    """Ask one model everything of a benchmark and write the results into `folder`.

    Free answers give predictions.jsonl, scores.json, item_scores.jsonl; questions with options choices.json; candidates
    selection.json. What was answered or measured is kept until all is done: a killed run goes on where it was.

    Args:
        answerer: the model that answers in words.
        loaded: the same model where it is on this machine; None for an endpoint, which has no likelihoods.
        settings: of the metrics.
        name: the model's, in the results.
        advance: told how many answers and measurements (see `workload`) have just come in.
        failed_as_empty: an item that a server will not answer has an empty answer, and is counted (`failed`).

    Returns:
        counts for the manifest.

    Raises:
        UserError: no item fits the model's window, or some have no answer (`Unanswered`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = _Work(folder, advance, failed_as_empty)
    prompt = choice_prompt()
    asked = {item.id: prompt.messages(item) if item.kind in CHOSEN else item.messages for item in benchmark.items}
    fitting = [item for item in benchmark.items if answerer.fits(asked[item.id])]
    if not fitting:
        raise UserError(f"no item of {benchmark.name} fits the window of {name} with the answer's max_new_tokens")
    short = {item.id for item in fitting}
    advance(sum(_steps(item, loaded is not None) for item in benchmark.items if item.id not in short))
    counts: dict[str, Any] = {"items": len(fitting), "items_too_long": len(benchmark.items) - len(fitting)}
    counts |= _free(work, answerer, [item for item in fitting if item.kind in FREE], settings, name)
    chosen = [item for item in fitting if item.kind in CHOSEN]
    counts |= _choices(work, answerer, loaded, chosen, [asked[item.id] for item in chosen], benchmark, name)
    counts |= _selection(work, loaded, [item for item in fitting if item.candidates], benchmark, name)
    _write_about(benchmark, folder, prompt)
    for path in work.kept:
        path.unlink()
    return counts | ({"failed": work.failed} if work.failed else {})


def adopt(
    answers: Path,
    benchmark: Benchmark,
    folder: Path,
    settings: EvaluationSettings,
    name: str,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """Take over a model's answers to a benchmark that were given elsewhere, and score them by our own references.

    Args:
        answers: JSON lines with `id` and `prediction` (ours, or anybody's), or a JSON list of dialogues with `id` and
            `conversation`, of which the doctor's first turn is the answer (the form of DISC-MedLLM's evaluation).
        allow_missing: leave items without an answer out, with their count, instead of refusing the file.

    Returns:
        counts: items, answers to unknown items (left out), to items that are not asked here, and items without one.

    Raises:
        UserError: an item has no answer or two, its question is another one, or the file is not of one of these forms.
    """
    if not set(benchmark.kinds) & {*FREE, *CHOSEN}:
        raise UserError(
            f"{benchmark.name} is for answer selection by likelihood; answers cannot be scored on it", answers
        )
    found = given_answers(answers, benchmark, allow_missing)
    items = [item for item in benchmark.items if item.id in found.answers]
    folder.mkdir(parents=True, exist_ok=True)
    free = [item for item in items if item.kind in FREE]
    _write_predictions(folder, free, [found.answers[item.id] for item in free], settings, name)
    chosen = [item for item in items if item.kind in CHOSEN]
    if chosen:
        choices = [Choice(item, None, found.answers[item.id]) for item in chosen]
        write_choices(folder, choices, benchmark.name, name, None, GIVEN)
    _write_about(benchmark, folder, None)
    return {"items": len(items), "missing": found.missing, "unknown": found.unknown, "not_asked": found.not_asked}


def workload(benchmark: Benchmark, likelihood: bool) -> int:
    """How many steps `measure` reports as done; `likelihood`: of a model on this machine."""
    return sum(_steps(item, likelihood) for item in benchmark.items)


def _steps(item: Item, likelihood: bool) -> int:
    answers = item.kind in FREE or item.kind in CHOSEN
    measured = likelihood and ((item.kind in CHOSEN and single(item)) or bool(item.candidates))
    return int(answers) + int(measured)


def _free(
    work: _Work, answerer: Answerer, items: Sequence[Item], settings: EvaluationSettings, name: str
) -> dict[str, Any]:
    if not items:
        return {}
    answers = work.ask(answerer, items, [item.messages for item in items], PREDICTIONS)
    _write_predictions(work.folder, items, answers, settings, name)
    return {"free": len(items), "cut_off": sum(isinstance(answer, CutOff) for answer in answers)}


def _write_predictions(
    folder: Path, items: Sequence[Item], answers: Sequence[str], settings: EvaluationSettings, name: str
) -> None:
    """predictions.jsonl, scores.json and item_scores.jsonl; nothing where there is no free answer."""
    if not items:
        return
    partial = folder / (PREDICTIONS + ".partial")
    cut = [{"cut_off": True} if isinstance(answer, CutOff) else {} for answer in answers]
    rows = zip(items, answers, cut, strict=True)
    write_json_lines(partial, [item.prediction(str(answer), name) | more for item, answer, more in rows])
    partial.replace(folder / PREDICTIONS)
    write_scores(folder, settings.metrics)


def _choices(
    work: _Work,
    answerer: Answerer,
    loaded: Loaded | None,
    items: Sequence[Item],
    prompts: Sequence[Sequence[Message]],
    benchmark: Benchmark,
    name: str,
) -> dict[str, Any]:
    if not items:
        return {}
    alone = [(item, prompt) for item, prompt in zip(items, prompts, strict=True) if single(item)]
    told: dict[str, dict[str, float]] = {}
    if loaded is not None and alone:
        chosen = [item for item, _ in alone]
        texts = work.ask(LetterLikelihood(loaded, chosen), chosen, [prompt for _, prompt in alone], "likelihoods")
        told = {item.id: json.loads(text) for item, text in zip(chosen, texts, strict=True)}
    answers = work.ask(answerer, items, prompts, "choices.jsonl")
    choices = [Choice(item, told.get(item.id), str(answer)) for item, answer in zip(items, answers, strict=True)]
    why = NO_ENDPOINT if loaded is None else NO_SINGLE
    found = write_choices(work.folder, choices, benchmark.name, name, choice_prompt(), why)
    return {"choices": len(items), "likelihoods": len(told), "unreadable": found["by_letter"]["unreadable"]}


def _selection(
    work: _Work, loaded: Loaded | None, items: Sequence[Item], benchmark: Benchmark, name: str
) -> dict[str, Any]:
    if not items:
        return {}
    if loaded is None:
        return {"selection": 0, "no_selection": NO_ENDPOINT}
    texts = work.ask(CandidateLikelihood(loaded, items), items, [item.messages for item in items], "candidates")
    scored = [(item, scores) for item, text in zip(items, texts, strict=True) if (scores := json.loads(text))]
    if not scored:
        raise UserError(f"no item of {benchmark.name} fits the window of {name} with all of its candidates")
    names = [item for item, _ in scored]
    write_selection(work.folder, names, [own for _, own in scored], benchmark.name, name)
    return {"selection": len(scored), "selection_too_long": len(items) - len(scored)}


def _write_about(benchmark: Benchmark, folder: Path, prompt: ChoicePrompt | None) -> None:
    said = prompt.described() if prompt and set(benchmark.kinds) & set(CHOSEN) else None
    about = benchmark.as_dict() | {"prompt": said}
    write_atomically(folder / ABOUT, json.dumps(about, ensure_ascii=False, indent=1))
