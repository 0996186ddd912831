"""The evaluation room's nodes of a run: what every model is measured on, and who judges.

own model + held_out            -> evaluation/MODEL: answers, scores, losses, routing
other model + held_out          -> evaluation/benchmarks/held_out/MODEL
any model + a benchmark's files -> evaluation/benchmarks/BENCHMARK/MODEL
training sets + those files     -> evaluation/contamination/BENCHMARK
answers of two models           -> evaluation/judge/A-vs-B
any model that can be asked     -> evaluation/rubrics/MODEL, evaluation/consultations/MODEL
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pediatricsgpt import evaluation_work
from pediatricsgpt.corpus_graph import dump, modules
from pediatricsgpt.evaluation.settings import MODELS, BenchmarkSettings, EvaluationSettings
from pediatricsgpt.evaluation_work import Subject
from pediatricsgpt.recipe import Comparison, Recipe
from pediatricsgpt.run import Context, Node
from pediatricsgpt.teachers import PROMPT_TOKENS, cost_line, identity
from pediatricsgpt.training_sets import HELD_OUT

ROOM = "evaluation"
HELD_OUT_BENCHMARK = "held_out"
VALIDATION = f"{ROOM}/validation"
_OF_ANSWERS = ("failed_as_empty", "max_items", "max_new_tokens", "repetition_penalty", "batch_size", "metrics")


def nodes(recipe: Recipe | Comparison, recipe_folder: Path) -> list[Node]:
    """All nodes but those of the run's own models on its held-out set (`own_nodes`), each after what it needs."""
    subjects = _subjects(recipe)
    measured = list(_benchmark_nodes(recipe, recipe_folder, subjects))
    contamination = _contamination_nodes(recipe, recipe_folder) if isinstance(recipe, Recipe) else []
    asked = [
        *_rubric_nodes(recipe, recipe_folder, subjects),
        *_consultation_nodes(recipe, recipe_folder, subjects),
    ]
    judged = _judge_nodes(recipe, subjects, measured)
    return [*measured, *contamination, *_taken_over(recipe, recipe_folder), *judged, *asked]


def own_nodes(recipe: Recipe) -> list[Node]:
    """Each of the run's own models on its held-out set."""
    settings = recipe.evaluation
    deciding = {**_of_answers(settings), "held_out": settings.held_out, "max_loss_rows": settings.max_loss_rows}
    return [
        Node(
            f"{ROOM}/{model}",
            (model, HELD_OUT, "corpus/cpt", *(("dfpo",) if model == "experts" else ())),
            {**deciding, "seed": recipe.seed, "threads": recipe.threads},
            modules("evaluation.evaluate"),
            partial(evaluation_work.evaluate, model),
            trains=True,
        )
        for model in MODELS
    ]


def _subjects(recipe: Recipe | Comparison) -> list[Subject]:
    own = [Subject(name) for name in recipe.evaluation.own_models] if isinstance(recipe, Recipe) else []
    return [*own, *(Subject(one.name, one) for one in recipe.evaluation.models)]


def _of_answers(settings: EvaluationSettings) -> dict[str, Any]:
    dumped = dump(settings)
    return {name: dumped[name] for name in _OF_ANSWERS}


def _benchmark_nodes(recipe: Recipe | Comparison, recipe_folder: Path, subjects: Sequence[Subject]) -> Iterator[Node]:
    settings = recipe.evaluation
    common = {**_of_answers(settings), "seed": recipe.seed, "threads": recipe.threads}
    if settings.held_out:
        for subject in subjects:
            if subject.other is None or not subject.answers_itself:
                continue  # a run's own models have their place; of a peer there are no answers to our items
            yield Node(
                f"{ROOM}/benchmarks/{HELD_OUT_BENCHMARK}/{subject.name}",
                (HELD_OUT,),
                {**common, "held_out": settings.held_out, "model": subject.identity},
                modules("evaluation.measure", "models.remote"),
                partial(evaluation_work.measure_held_out, subject),
                files=partial(subject.files, recipe_folder),
                trains=subject.local,
            )
    for benchmark, subject in itertools.product(settings.files_of_its_own, subjects):
        answers = (subject.other.answers or {}).get(benchmark.title) if subject.other else None
        if not subject.answers_itself and answers is None:
            continue
        given = [recipe_folder / answers] if answers else []
        yield Node(
            f"{ROOM}/benchmarks/{benchmark.title}/{subject.name}",
            subject.inputs,
            {**common, "benchmark": dump(benchmark), "model": subject.identity},
            modules("evaluation.measure", "models.remote"),
            partial(evaluation_work.measure, benchmark, subject),
            files=partial(_files, benchmark, subject, recipe_folder, given),
            trains=subject.local and not given,
        )


def _files(benchmark: BenchmarkSettings, subject: Subject, folder: Path, given: Sequence[Path]) -> list[Path]:
    own = [folder / benchmark.path] if benchmark.path else []
    return [*own, *given, *subject.files(folder)]


def _contamination_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    return [
        Node(
            f"{ROOM}/contamination/{benchmark.title}",
            evaluation_work.TRAINING_SETS,
            {
                "benchmark": dump(benchmark),
                "max_items": recipe.evaluation.max_items,
                "decontaminate": dump(recipe.corpus.decontaminate),
            },
            modules("evaluation.contamination", "evaluation.benchmarks"),
            partial(evaluation_work.contamination, benchmark),
            files=partial(_files, benchmark, Subject(""), recipe_folder, ()),
        )
        for benchmark in recipe.evaluation.files_of_its_own
    ]


def _taken_over(recipe: Recipe | Comparison, recipe_folder: Path) -> Iterator[Node]:
    """What was found out elsewhere and is shown with the rest: whether to believe the judges, what doctors say."""
    settings = recipe.evaluation
    if settings.judge and settings.judge.validation:
        path = recipe_folder / settings.judge.validation
        needed = modules("evaluation.validation.run")
        yield Node(VALIDATION, (), None, needed, evaluation_work.validation, files=partial(list, [path]))
    if settings.panel:
        path = recipe_folder / settings.panel
        needed = modules("evaluation.judge.run")
        yield Node(f"{ROOM}/panel", (), None, needed, evaluation_work.panel, files=partial(list, [path]))


def _judge_nodes(recipe: Recipe | Comparison, subjects: Sequence[Subject], measured: Sequence[Node]) -> list[Node]:
    judge = recipe.evaluation.judge
    if judge is None:
        return []
    there = {node.name for node in measured} | {f"{ROOM}/{name}" for name in MODELS if isinstance(recipe, Recipe)}
    found = []
    for a, b in judge.pairs or _default_pairs(subjects):
        inputs = list(_judged(recipe.evaluation, a, b, there))
        if not inputs:
            continue
        validation = (VALIDATION,) if judge.validation else ()
        found.append(
            Node(
                f"{ROOM}/judge/{a}-vs-{b}",
                (*dict.fromkeys(node for pair in inputs for node in pair), *validation),
                {
                    **{name: value for name, value in dump(judge).items() if name not in ("judges", "pairs")},
                    "judges": [identity(one) for one in judge.judges],
                    "seed": recipe.seed,
                },
                modules("evaluation.judge.run"),
                partial(evaluation_work.judge, a, b, inputs),
            )
        )
    return found


def _default_pairs(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """The run's last model, or the first that a comparison lists, with every other."""
    own = [one.name for one in subjects if one.other is None]
    first = own[-1] if own else subjects[0].name
    return [(first, one.name) for one in subjects if one.name != first]


def _judged(settings: EvaluationSettings, a: str, b: str, there: set[str]) -> Iterator[tuple[str, str]]:
    """The nodes with the two models' answers to the same questions, a pair for each set that both answered."""
    for name in _judged_sets(settings):
        sides = [_answers_node(name, model, there) for model in (a, b)]
        if sides[0] and sides[1]:
            yield sides[0], sides[1]


def _answers_node(benchmark: str, model: str, there: set[str]) -> str | None:
    own = f"{ROOM}/{model}"
    if benchmark == HELD_OUT_BENCHMARK and own in there:
        return own
    node = f"{ROOM}/benchmarks/{benchmark}/{model}"
    return node if node in there else None


def _rubric_nodes(recipe: Recipe | Comparison, recipe_folder: Path, subjects: Sequence[Subject]) -> list[Node]:
    rubrics = recipe.evaluation.rubrics
    if rubrics is None:
        return []
    own = [recipe_folder / rubrics.path] if rubrics.path else []
    settings = {**dump(rubrics), "judge": identity(rubrics.judge), **_of_answers(recipe.evaluation)}
    return [
        _asking_node(
            "rubrics",
            recipe,
            subject,
            settings,
            modules("evaluation.rubrics.run"),
            own,
            recipe_folder,
            evaluation_work.rubrics,
        )
        for subject in subjects
        if subject.answers_itself
    ]


def _consultation_nodes(recipe: Recipe | Comparison, recipe_folder: Path, subjects: Sequence[Subject]) -> list[Node]:
    consultations = recipe.evaluation.consultations
    if consultations is None:
        return []
    own = [recipe_folder / consultations.cards] if consultations.cards else []
    caregiver = consultations.caregiver and identity(consultations.caregiver)
    settings = {**dump(consultations), "caregiver": caregiver, **_of_answers(recipe.evaluation)}
    needed = modules("evaluation.consultation.measure")
    return [
        _asking_node("consultations", recipe, subject, settings, needed, own, recipe_folder, evaluation_work.consult)
        for subject in subjects
        if subject.answers_itself
    ]


def _asking_node(
    kind: str,
    recipe: Recipe | Comparison,
    subject: Subject,
    settings: dict[str, Any],
    needed: tuple[str, ...],
    own: Sequence[Path],
    recipe_folder: Path,
    work: Callable[[Subject, Context], dict[str, Any]],
) -> Node:
    """A node in which a model is asked something that is in no benchmark."""
    return Node(
        f"{ROOM}/{kind}/{subject.name}",
        subject.inputs,
        {**settings, "model": subject.identity, "seed": recipe.seed, "threads": recipe.threads},
        (*needed, *modules("models.remote")),
        partial(work, subject),
        files=lambda: [*own, *subject.files(recipe_folder)],
        trains=subject.local,
    )


def cost_lines(recipe: Recipe | Comparison, recipe_folder: Path) -> Iterator[str]:
    """What judges, graders and a caregiver at an address will be asked at most, a line each."""
    settings = recipe.evaluation
    subjects = _subjects(recipe)
    askable = [one for one in subjects if one.answers_itself]
    if settings.judge:
        most = {one.title: one.max_items or settings.max_items for one in settings.files_of_its_own}
        sizes = [most[name] for name in _judged_sets(settings) if name in most]
        if HELD_OUT_BENCHMARK in _judged_sets(settings):
            sizes += [settings.max_items] * len(settings.held_out)
        items = sum(min(size, settings.judge.max_items) for size in sizes)
        pairs = len(settings.judge.pairs or _default_pairs(subjects))
        asked = pairs * items * (1 + settings.judge.both_orders) * settings.judge.repeats
        given = asked * (2 * PROMPT_TOKENS + 3 * settings.max_new_tokens)
        for judge in settings.judge.judges:
            yield cost_line("judge", judge, asked, given, asked * judge.max_tokens)
    if settings.rubrics:
        from pediatricsgpt.evaluation.rubrics.forms import chosen, load_rubrics

        rubrics = load_rubrics(recipe_folder / settings.rubrics.path if settings.rubrics.path else None)
        graded = chosen(rubrics, settings.rubrics.max_items)
        criteria = len(askable) * sum(len(item.criteria) for item in graded)
        grader = settings.rubrics.judge
        given = criteria * (PROMPT_TOKENS + 2 * settings.max_new_tokens)
        yield cost_line("grader of rubrics", grader, criteria, given, criteria * grader.max_tokens)
    if settings.consultations and settings.consultations.caregiver:
        from pediatricsgpt.evaluation.consultation.card import read_cards

        caregiver = settings.consultations.caregiver
        own = recipe_folder / settings.consultations.cards if settings.consultations.cards else None
        cards = len(read_cards(own, settings.consultations.max_cards))
        turns = len(askable) * cards * settings.consultations.max_turns
        given = turns * (2 * PROMPT_TOKENS + settings.consultations.max_turns * settings.max_new_tokens // 2)
        yield cost_line("caregiver", caregiver, turns, given, turns * caregiver.max_tokens)


def _judged_sets(settings: EvaluationSettings) -> list[str]:
    """Held-out items and benchmarks whose answers judges see."""
    wanted = settings.judge.benchmarks if settings.judge else None
    own = [HELD_OUT_BENCHMARK] if settings.held_out else []
    sets = [*own, *(one.title for one in settings.files_of_its_own)]
    return [name for name in sets if wanted is None or name in wanted]
