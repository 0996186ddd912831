"""What follows what: the nodes of a run, from sources to evaluation. `run.py` decides which of them need doing.

sources -> the corpus room (corpus_graph.py) -> sets (cpt, sft, experts, held_out)
base -> cpt -> sft -> [low answers: corpus/preferences] -> dfpo -> experts
each of the five models + held_out -> evaluation/<model>; benchmarks, judges, consultations: evaluation_graph.py
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt import corpus_graph, evaluation_graph, manifest, teachers
from pediatricsgpt.corpus_graph import (
    PASSES,
    RECORDS,
    base_files,
    dump,
    instruction_rows,
    modules,
    training_set_node,
    without_teacher,
)
from pediatricsgpt.evaluation.settings import MODELS
from pediatricsgpt.progress import progress
from pediatricsgpt.recipe import Comparison, Recipe
from pediatricsgpt.records import Reject, read_records, write_json_lines
from pediatricsgpt.run import Context, Node
from pediatricsgpt.training_sets import GENERAL_VALIDATION, ROWS, VALIDATION, write_json, write_training_set

if TYPE_CHECKING:
    from pediatricsgpt.corpus.build.preferences_teacher import Side
    from pediatricsgpt.endpoint import Endpoint

LOW_ANSWERS = "low_answers.jsonl"
"""What this run's own model answered, until the pairs are made: a stop on the way costs none of them"""
PHASES = MODELS[1:]

_PACKAGE = "pediatricsgpt"
_PHASE_MODULES = {"experts": "expert_sft"}
# What of a phase's settings no checkpoint depends on: how it is watched, shown and saved.
_ONLY_WATCHING = ("divergence_factor", "tensorboard", "chosen_fall", "style_auc")
_OF_THE_TRAINER = ("logging_steps", "logging_strategy", "logging_first_step", "save_steps", "save_strategy")
_OF_THE_GATE = ("rows",)
"""All that the losses it has measured depend on"""
_WATCHED = {
    "cpt": {"own": ("corpus/cpt", VALIDATION), "general": ("corpus/cpt", GENERAL_VALIDATION)},
    "sft": {
        "own": ("corpus/sft", VALIDATION),
        "cpt": ("corpus/cpt", VALIDATION),
        "general": ("corpus/cpt", GENERAL_VALIDATION),
    },
    "dfpo": {
        "own": ("corpus/preferences", VALIDATION),
        "sft": ("corpus/sft", VALIDATION),
        "cpt": ("corpus/cpt", VALIDATION),
        "general": ("corpus/cpt", GENERAL_VALIDATION),
    },
    "experts": {
        "own": ("corpus/experts", VALIDATION),
        "dfpo": ("corpus/preferences", VALIDATION),
        "sft": ("corpus/sft", VALIDATION),
        "cpt": ("corpus/cpt", VALIDATION),
        "general": ("corpus/cpt", GENERAL_VALIDATION),
    },
}
"""Held-out rows on which a phase is measured while it trains: its own, and what it must not forget"""


def build(recipe: Recipe | Comparison, recipe_folder: Path) -> list[Node]:
    """The nodes of a recipe, each after everything that it needs."""
    if isinstance(recipe, Comparison):
        return evaluation_graph.nodes(recipe, recipe_folder)
    evaluations = {node.inputs[0]: node for node in evaluation_graph.own_nodes(recipe)}
    nodes = corpus_graph.nodes(recipe, recipe_folder)
    for node in _model_nodes(recipe, recipe_folder):
        # Each model is measured as soon as it is there: what is wrong with the held-out set shows before the training.
        nodes += [node, evaluations[node.name]] if node.name in evaluations else [node]
    return nodes + evaluation_graph.nodes(recipe, recipe_folder)


def _model_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    preferences = recipe.corpus.build.preferences
    before = dict(zip(PHASES, MODELS, strict=False))
    data = {phase: f"corpus/{phase}" for phase in PHASES} | {"dfpo": "corpus/preferences"}

    def phase(name: str) -> Node:
        others = dict.fromkeys(node for node, _ in _WATCHED[name].values() if node != data[name])
        settings = getattr(recipe, name)
        return Node(
            name,
            (before[name], data[name], *others),
            {**dump(settings), "seed": recipe.seed, "threads": recipe.threads},
            modules(f"training.{_PHASE_MODULES.get(name, name)}"),
            partial(_train, name),
            files=lambda: settings.files(recipe_folder),
            trains=True,
            together=True,
            unfinished_settings=_deciding({**dump(settings), "seed": recipe.seed, "threads": recipe.threads}),
            would_lose=_checkpoint,
        )

    return [
        Node(
            "base",
            (),
            {**dump(recipe.model), "seed": recipe.seed},
            modules("models.load"),
            _base,
            files=lambda: base_files(recipe, recipe_folder),
            trains=True,
        ),
        phase("cpt"),
        phase("sft"),
        training_set_node(
            recipe,
            recipe_folder,
            "corpus/preferences",
            ("corpus/curated", "corpus/instructions", "sft"),
            {
                **without_teacher(preferences),
                "teachers": teachers.identities(recipe, ("preferences", "weaker")),
                "seed": recipe.seed,
                "threads": recipe.threads,
            },
            (
                "models.answers",
                *(f"corpus.build.{name}" for name in ("preferences", "preferences_teacher", "behaviour", "general")),
            ),
            _preferences,
            trains=True,
        ),
        phase("dfpo"),
        phase("experts"),
    ]


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a phase that its checkpoints depend on: others may change while it is half done."""
    gate = {name: value for name, value in settings["gate"].items() if name in _OF_THE_GATE}
    trainer = {name: value for name, value in settings["trainer"].items() if name not in _OF_THE_TRAINER}
    others = {name: value for name, value in settings.items() if name not in _ONLY_WATCHING}
    return {**others, "gate": gate, "trainer": trainer}


def _checkpoint(folder: Path) -> str | None:
    """The newest checkpoint of an unfinished phase."""
    steps = [int(path.name.rpartition("-")[2]) for path in (folder / manifest.SCRATCH).glob("checkpoint-*[0-9]")]
    return f"a checkpoint of step {max(steps)}" if steps else None


def _base(context: Context) -> dict[str, Any]:
    from pediatricsgpt.models.load import make_base

    return make_base(context.recipe.model, context.folder, context.recipe_folder, context.recipe.seed)


def _train(phase: str, context: Context) -> dict[str, Any]:
    import importlib

    from pediatricsgpt.training.phase import Job

    model, data, *_ = context.inputs
    watched = {name: context.inputs[node] / file for name, (node, file) in _WATCHED[phase].items()}
    train = importlib.import_module(f"{_PACKAGE}.training.{_PHASE_MODULES.get(phase, phase)}").train
    missing = [name for name, file in watched.items() if not file.is_file()]
    if missing:
        context.console.print(
            f"  {phase}: no rows are held out of {', '.join(missing)}, so nobody sees whether they are forgotten",
            highlight=False,
            soft_wrap=True,
        )
    job = Job(
        name=phase,
        model=context.inputs[model],
        data=context.inputs[data] / ROWS,
        folder=context.folder,
        seed=context.recipe.seed,
        console=context.console,
        watched={name: file for name, file in watched.items() if file.is_file()},
    )
    counts: dict[str, Any] = train(job, getattr(context.recipe, phase).resolved(context.recipe_folder))
    return {**counts, "not_watched": missing} if missing else counts


def _preferences(context: Context) -> dict[str, Any]:
    """Medical pairs: a preferred side (the reference, or a teacher's rephrasing) against a weaker assistant's answer.

    The weaker assistant is an endpoint, else this run's own SFT model. General pairs come from the sources, pairs of
    aspect safety from the rule table.
    """
    from pediatricsgpt.corpus.build import behaviour, general, preferences
    from pediatricsgpt.corpus.build.instructions import resolved
    from pediatricsgpt.corpus.build.preferences_teacher import preferred

    settings, rows = context.recipe.corpus.build.preferences, instruction_rows(context)
    wanted = preferences.prompts_for_low_answers(rows, settings, context.recipe.seed)
    with teachers.opened(context.recipe, ("preferences", "weaker"), context.run_folder) as asked:
        low = _low_answers(context, wanted, asked.get("weaker"))
        by_id = {row["id"]: row for row in rows}
        rephrased = None
        if "preferences" in asked:
            with progress(context.console, "preferred answers", len(low.answers)) as advance:
                rephrased = preferred([by_id[name] for name in low.answers], asked["preferences"], advance)
        spent = teachers.usage(asked)
    medical, rejects = preferences.medical_pairs(rows, low.answers, rephrased, low.step)
    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    general_pairs, general_rejects = preferences.general_pairs(records, settings, general.barred(rows))
    own = resolved(context.recipe.corpus.build, context.recipe_folder).behaviour
    safety = behaviour.safety_pairs(own) if settings.safety_pairs else []
    pairs = [*medical, *general_pairs, *safety]
    (context.folder / LOW_ANSWERS).unlink(missing_ok=True)
    left_out = [*low.rejects, *(rephrased.rejects if rephrased else []), *rejects, *general_rejects]
    read = len(wanted) + len(safety) + sum(record.shape == "preference" for record in records)
    if len(pairs) + len(left_out) != read:
        raise RuntimeError(f"preferences: {read} read, but {len(pairs)} pairs and {len(left_out)} rejects")
    kept, counts = write_training_set(context, pairs, "preference", left_out)
    write_json(context.folder / "statistics.json", preferences.statistics(kept, left_out))
    if rephrased:
        write_json_lines(context.folder / PASSES, rephrased.passes)
    return {
        "medical_pairs": len(medical),
        "general_pairs": len(general_pairs),
        "safety_pairs": len(safety),
        "read": read,
        "kept": len(kept) + counts["validation_rows"],
        "rejected": read - len(kept) - counts["validation_rows"],
        **counts,
        **preferences.prompt_counts(rows, settings),
        **spent,
    }


def _low_answers(context: Context, asked: list[dict[str, Any]], weaker: Endpoint | None) -> Side:
    """The weaker assistant's answers: an endpoint's, or those of this run's SFT model."""
    from pediatricsgpt.corpus.build.preferences import LOW_ANSWER_STEP
    from pediatricsgpt.corpus.build.preferences_teacher import Side, weak_answers
    from pediatricsgpt.models.answers import Prompt, answer_all
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load

    settings = context.recipe.corpus.build.preferences
    if weaker is not None:
        with progress(context.console, "low answers", len(asked)) as advance:
            return weak_answers(asked, weaker, settings.max_new_tokens, advance)
    engine = Engine(load(context.inputs["sft"]), Sampling(max_new_tokens=settings.max_new_tokens), batch_size=16)
    fitting = {row["id"]: engine.fits(row["messages"]) for row in asked}
    prompts = [Prompt(row["id"], row["messages"]) for row in asked if fitting[row["id"]]]
    too_long = [
        Reject("low_answer", "prompt too long for the model", f"row {row['id']}", {"id": row["id"]})
        for row in asked
        if not fitting[row["id"]]
    ]
    with progress(context.console, "low answers", len(prompts)) as advance:
        answers = answer_all(engine, prompts, context.folder / LOW_ANSWERS, advance)
    found = {prompt.id: answer for prompt, answer in zip(prompts, answers, strict=True)}
    return Side(LOW_ANSWER_STEP, found, too_long)
