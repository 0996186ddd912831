"""What the evaluation room's nodes do: open a model, ask it, keep what it said, measure, judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.evaluation.settings import BenchmarkSettings, ModelUnderTest
from pediatricsgpt.progress import progress
from pediatricsgpt.recipe import Recipe
from pediatricsgpt.run import Context
from pediatricsgpt.teachers import identity, writers
from pediatricsgpt.training_sets import HELD_OUT, ROWS, VALIDATION

if TYPE_CHECKING:
    from pediatricsgpt.evaluation.benchmarks import Benchmark
    from pediatricsgpt.models.answers import Answerer
    from pediatricsgpt.models.load import Loaded

_ASKED = "asked"
"""Folder of a run with what endpoints were paid for in its evaluation"""
TRAINING_SETS = ("corpus/cpt", "corpus/sft", "corpus/preferences", "corpus/experts")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured: one that this run makes, or another."""

    name: str
    other: ModelUnderTest | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Nodes that hold its weights. An adapter's folder does not hold the weights below it."""
        if self.other is not None:
            return ()
        return (self.name, "dfpo") if self.name == "experts" else (self.name,)

    @property
    def identity(self) -> Any:
        """What its answers depend on, besides the weights that lie in files."""
        if self.other is None:
            return self.name
        return {"name": self.name, "model": self.other.model, "api": self.other.api and identity(self.other.api)}

    def files(self, folder: Path) -> list[Path]:
        """Outside files with its weights."""
        if self.other is None or self.other.model is None:
            return []
        path = (folder / self.other.model).expanduser()
        return [path] if path.exists() else []

    @property
    def answers_itself(self) -> bool:
        """Whether it can be asked something new; of a peer there is only what it once answered."""
        return self.other is None or self.other.answers is None

    @property
    def local(self) -> bool:
        """Whether its weights are loaded here."""
        return self.other is None or self.other.model is not None


@contextmanager
def _opened(subject: Subject, context: Context) -> Iterator[tuple[Answerer, Loaded | None]]:
    """A model that is to answer, with the run's way to draw answers."""
    from pediatricsgpt.models.engine import Sampling
    from pediatricsgpt.models.remote import open_model

    settings = context.any_recipe.evaluation
    sampling = Sampling(
        settings.max_new_tokens, repetition_penalty=settings.repetition_penalty, seed=context.any_recipe.seed
    )
    with open_model(
        subject.other or context.inputs[subject.name],
        sampling,
        settings.batch_size,
        context.recipe_folder,
        _asked(context, subject.name),
        deidentified=True,  # held-out rows are, and who sends public benchmarks away has said so: recipes are checked
    ) as opened:
        yield opened


def _asked(context: Context, name: str) -> Path:
    """Where paid answers lie: outside the step's own folder, which is made anew when a setting changes."""
    return context.run_folder / _ASKED / name


def measure_held_out(subject: Subject, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation.benchmarks import held_out_benchmark

    settings = context.any_recipe.evaluation
    rows = context.inputs[HELD_OUT] / ROWS
    return _answered(subject, held_out_benchmark(rows, settings.held_out, settings.max_items), context)


def measure(settings: BenchmarkSettings, subject: Subject, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation.benchmarks import load_benchmark
    from pediatricsgpt.evaluation.measure import adopt

    evaluation = context.any_recipe.evaluation
    benchmark = load_benchmark(settings, context.recipe_folder, evaluation.max_items)
    given = (subject.other.answers or {}).get(settings.title) if subject.other else None
    if given is not None:
        return adopt(context.recipe_folder / given, benchmark, context.folder, evaluation, subject.name)
    return _answered(subject, benchmark, context)


def _answered(subject: Subject, benchmark: Benchmark, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation import measure as measuring

    what = f"{subject.name} on {benchmark.name}"
    with (
        progress(context.console, what, measuring.workload(benchmark, subject.local)) as advance,
        _opened(subject, context) as (answerer, loaded),
    ):
        evaluation = context.any_recipe.evaluation
        return measuring.measure(
            answerer,
            loaded,
            benchmark,
            context.folder,
            evaluation,
            subject.name,
            advance,
            evaluation.failed_as_empty,
        )


def contamination(settings: BenchmarkSettings, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation import contamination as found_in
    from pediatricsgpt.evaluation.benchmarks import load_benchmark

    benchmark = load_benchmark(settings, context.recipe_folder, context.recipe.evaluation.max_items)
    sets = {node.removeprefix("corpus/"): context.inputs[node] / ROWS for node in TRAINING_SETS}
    found = found_in.contamination(benchmark.name, benchmark.items, sets, context.recipe.corpus.decontaminate)
    found_in.write_contamination(context.folder, found)
    matched = {f"{name}_items": one["items_matched"] for name, one in found["sets"].items()}
    return {"items": found["items"], **matched}


def judge(a: str, b: str, inputs: Sequence[tuple[str, str]], context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation.judge.ask import forecast as judge_costs
    from pediatricsgpt.evaluation.judge.questions import joined, read_pair
    from pediatricsgpt.evaluation.judge.run import judge_pair, prepared, workload
    from pediatricsgpt.evaluation.predictions import PREDICTIONS

    settings = context.any_recipe.evaluation.judge
    assert settings is not None  # this node is there only with it
    sides = {
        Path(node).parent.name: tuple(context.inputs[name] / PREDICTIONS for name in (node, other))
        for node, other in inputs
    }
    pairs = {name: read_pair(ours, theirs, (a, b), intersect=True) for name, (ours, theirs) in sides.items()}
    pair = joined(pairs)
    for forecast in judge_costs(settings, prepared(pair, settings)[1], _asked(context, "judge")):
        context.console.print(f"  {forecast.line}", highlight=False, soft_wrap=True)
    with progress(context.console, f"judging {a} and {b}", workload(pair, settings)) as advance:
        found = judge_pair(
            pair,
            settings,
            context.folder,
            _asked(context, "judge"),
            writers(context.any_recipe) if isinstance(context.any_recipe, Recipe) else (),
            context.inputs["evaluation/validation"] / "validation.json" if settings.validation else None,
            deidentified=True,
            advance=advance,
        )
    spent = {name: found["costs"][name] for name in ("requests", "cached")}
    return {"items": found["items"], **spent}


def validation(context: Context) -> dict[str, Any]:
    """Take over how the judges were validated, so that the run shows what its headlines rest on."""
    from pediatricsgpt.evaluation.validation.run import read_validation
    from pediatricsgpt.training_sets import write_json

    judge = context.any_recipe.evaluation.judge
    assert judge is not None  # this node is there only with it
    found = read_validation(context.recipe_folder / str(judge.validation))
    write_json(context.folder / "validation.json", found)
    return {"judges": len(found["judges"]), "passed": sum(one["passed"] for one in found["judges"].values())}


def panel(context: Context) -> dict[str, Any]:
    """Count doctors' verdicts."""
    from pediatricsgpt.evaluation.judge.run import panel as counted

    found = counted(context.recipe_folder / str(context.any_recipe.evaluation.panel), context.folder)
    return {"items": found["items"], "raters": len(found["raters"])}


def rubrics(subject: Subject, context: Context) -> dict[str, Any]:
    """Have a model answer the questions of a rubric set, and its answers graded."""
    from pediatricsgpt.evaluation.answering import answer_items
    from pediatricsgpt.evaluation.benchmarks import read_items
    from pediatricsgpt.evaluation.predictions import PREDICTIONS
    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics, questions
    from pediatricsgpt.evaluation.rubrics.grade import forecast
    from pediatricsgpt.evaluation.rubrics.run import answers_folder, grade_answers, read_answers
    from pediatricsgpt.records import write_json_lines

    settings = context.any_recipe.evaluation.rubrics
    assert settings is not None  # this node is there only with it
    chosen = load_rubrics(context.recipe_folder / settings.path if settings.path else None)
    asked, answers = context.folder / "questions.jsonl", context.folder / PREDICTIONS
    write_json_lines(asked, questions(chosen, settings.max_items))
    items = read_items(asked)
    with (
        progress(context.console, f"{subject.name} on {chosen.name}", len(items)) as advance,
        _opened(subject, context) as (answerer, _),
    ):
        fitting = [item for item in items if answerer.fits(item.messages)]
        answer_items(answerer, fitting, answers, subject.name, advance, context.any_recipe.evaluation.failed_as_empty)
    asked.unlink()
    answered = read_answers(answers, chosen, intersect=True, max_items=settings.max_items)
    criteria = sum(len(item.criteria) for item in answered.items)
    paid = answers_folder(context.folder, settings.judge, _asked(context, "rubrics"))
    cost = forecast(answered.items, answered.answers, settings.judge, paid)
    context.console.print(f"  {cost.line}", highlight=False, soft_wrap=True)
    with progress(context.console, f"grading {subject.name}", criteria) as advance:
        cache = _asked(context, "rubrics")
        found = grade_answers(
            chosen, answered, subject.name, settings.judge, context.folder, cache, deidentified=True, advance=advance
        )
    return {"items": found["n"], "items_too_long": len(items) - len(fitting), "criteria": criteria}


def consult(subject: Subject, context: Context) -> dict[str, Any]:
    """Let a model lead simulated consultations."""
    from pediatricsgpt.evaluation.consultation.card import read_cards
    from pediatricsgpt.evaluation.consultation.measure import measure

    evaluation, folder = context.any_recipe.evaluation, context.recipe_folder
    settings = evaluation.consultations
    assert settings is not None  # this node is there only with it
    cards = read_cards(folder / settings.cards if settings.cards else None, settings.max_cards)
    with (
        progress(context.console, f"consulting {subject.name}", len(cards)) as advance,
        _opened(subject, context) as (answerer, _),
    ):
        paid = _asked(context, "caregiver")
        tolerant = evaluation.failed_as_empty
        found = measure(answerer, subject.name, settings, context.folder, folder, advance, tolerant, paid)
    return {"cards": found["cards"]}


def evaluate(model: str, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation import evaluate

    held_out = context.inputs["corpus/held_out"] / ROWS
    watched = context.inputs["corpus/cpt"] / VALIDATION
    texts = watched if watched.is_file() else None
    settings = context.recipe.evaluation
    with progress(context.console, f"evaluating {model}", evaluate.workload(held_out, settings, texts)) as advance:
        return evaluate.evaluate(
            model,
            context.inputs[model],
            held_out,
            context.folder,
            settings,
            context.recipe.seed,
            advance,
            texts,
        )
