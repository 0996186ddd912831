"""What follows what: the nodes of a run, from sources to evaluation. `run.py` decides which of them need doing.

sources -> curated -> instructions -> sets (cpt, sft, experts, held_out) -> card
base -> cpt -> sft -> [low answers: corpus/preferences] -> dfpo -> experts
each of the five models + held_out -> evaluation/<model>
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pediatricsgpt.progress import progress
from pediatricsgpt.recipe import Recipe
from pediatricsgpt.records import Reject, read_records, read_rows, write_json_lines, write_records, write_rows
from pediatricsgpt.run import Context, Node

MODELS = ("base", "cpt", "sft", "dfpo", "experts")
PHASES = MODELS[1:]
RECORDS = "records.parquet"
REJECTS = "rejects.jsonl"
ROWS = "rows.parquet"

_PACKAGE = "pediatricsgpt"
_PHASE_MODULES = {"experts": "expert_sft"}


def _modules(*names: str) -> tuple[str, ...]:
    return tuple(f"{_PACKAGE}.{name}" for name in names)


def build(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    """The nodes of a recipe, each after everything that it needs."""
    evaluations = {node.inputs[0]: node for node in _evaluation_nodes(recipe)}
    nodes = [*_source_nodes(recipe, recipe_folder), *_corpus_nodes(recipe, recipe_folder)]
    for node in _model_nodes(recipe, recipe_folder):
        # Each model is measured as soon as it is there: what is wrong with the held-out set shows before the training.
        nodes += [node, evaluations[node.name]] if node.name in evaluations else [node]
    return nodes


def _source_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    from pediatricsgpt.corpus.sources import source_files

    return [
        Node(
            name=f"corpus/sources/{source.name}",
            inputs=(),
            settings=source.model_dump(mode="json"),
            modules=_modules("corpus.sources"),
            work=partial(_read, index),
            files=partial(source_files, source, recipe_folder),
        )
        for index, source in enumerate(recipe.corpus.sources)
    ]


def _corpus_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    corpus = recipe.corpus
    sources = tuple(f"corpus/sources/{source.name}" for source in corpus.sources)
    sets = ("corpus/cpt", "corpus/sft", "corpus/experts", "corpus/held_out")
    build = corpus.build
    behaviour = [recipe_folder / build.behaviour.file] if build.behaviour.file else []
    return [
        Node(
            "corpus/curated",
            sources,
            {"clean": _dump(corpus.clean), "split": _dump(corpus.split), "seed": recipe.seed, "order": sources},
            _modules("corpus.execute"),
            _curate,
        ),
        Node(
            "corpus/instructions",
            ("corpus/curated",),
            {name: _dump(getattr(build, name)) for name in ("role_play", "reconstruct", "behaviour")},
            _modules("corpus.build.instructions"),
            _instructions,
            files=lambda: behaviour,
        ),
        Node(
            "corpus/cpt",
            ("corpus/curated", "corpus/instructions"),
            {"cpt": _dump(build.cpt), "seed": recipe.seed},
            _modules("corpus.build.hybrid"),
            _cpt_set,
        ),
        Node("corpus/sft", ("corpus/instructions",), {}, _modules("corpus.build.sft"), _sft_set),
        Node(
            "corpus/experts",
            ("corpus/instructions",),
            {"experts": _dump(build.experts), "seed": recipe.seed},
            _modules("corpus.build.expert_set"),
            _expert_set,
        ),
        Node("corpus/held_out", ("corpus/instructions",), {}, _modules("corpus.build.held_out"), _held_out_set),
        Node(
            "corpus/card",
            (*sources, "corpus/curated", "corpus/instructions", *sets),
            {"name": recipe.name},
            _modules("corpus.card"),
            _card,
        ),
    ]


def _model_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    preferences = recipe.corpus.build.preferences
    before = dict(zip(PHASES, MODELS, strict=False))
    data = {phase: f"corpus/{phase}" for phase in PHASES} | {"dfpo": "corpus/preferences"}

    def phase(name: str) -> Node:
        return Node(
            name,
            (before[name], data[name]),
            {**_dump(getattr(recipe, name)), "seed": recipe.seed, "threads": recipe.threads},
            _modules(f"training.{_PHASE_MODULES.get(name, name)}"),
            partial(_train, name),
            trains=True,
        )

    return [
        Node(
            "base",
            (),
            {**_dump(recipe.model), "seed": recipe.seed},
            _modules("models.load"),
            _base,
            files=lambda: _base_files(recipe, recipe_folder),
            trains=True,
        ),
        phase("cpt"),
        phase("sft"),
        Node(
            "corpus/preferences",
            ("corpus/curated", "corpus/instructions", "sft"),
            {**_dump(preferences), "seed": recipe.seed, "threads": recipe.threads},
            _modules("models.answers", "corpus.build.preferences"),
            _preferences,
            trains=True,
        ),
        phase("dfpo"),
        phase("experts"),
    ]


def _evaluation_nodes(recipe: Recipe) -> list[Node]:
    settings = {**_dump(recipe.evaluation), "seed": recipe.seed}
    return [
        Node(
            f"evaluation/{model}",
            # An adapter's folder does not hold the weights below it.
            (model, "corpus/held_out", *(("dfpo",) if model == "experts" else ())),
            {**settings, "threads": recipe.threads},
            _modules("evaluation.evaluate"),
            partial(_evaluate, model),
            trains=True,
        )
        for model in MODELS
    ]


def _dump(settings: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = settings.model_dump(mode="json")
    return dumped


def _base_files(recipe: Recipe, recipe_folder: Path) -> list[Path]:
    """What the base depends on: the tokenizer of a new model, or the folder of an existing one."""
    named = recipe.model.tokenizer if recipe.model.init else recipe.model.base
    folder = recipe_folder / str(named)
    files = [folder] if folder.is_dir() else []
    return files + ([recipe_folder / recipe.model.chat_template] if recipe.model.chat_template else [])


def _write_rejects(context: Context, rejects: list[Reject]) -> None:
    write_json_lines(context.folder / REJECTS, [reject.as_dict() for reject in rejects])


def _write_counts(context: Context, counts: dict[str, Any]) -> None:
    text = json.dumps(counts, ensure_ascii=False, indent=1, sort_keys=True)
    (context.folder / "counts.json").write_text(text, encoding="utf-8")


def _read(index: int, context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.sources import read_source

    reading = read_source(context.recipe.corpus.sources[index], context.recipe_folder)
    kept, rejected = len(reading.records), len(reading.rejects)
    write_records(context.folder / RECORDS, reading.records)
    _write_rejects(context, reading.rejects)
    # The readers account for the rows of each file; several records may come of one row, or one of several.
    return {"read": kept + rejected, "kept": kept, "rejected": rejected, **reading.counts}


def _curate(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.execute import curate

    records = [record for folder in context.inputs.values() for record in read_records(folder / RECORDS)]
    curated = curate(records, context.recipe.corpus, context.recipe.seed)
    write_records(context.folder / RECORDS, curated.records)
    _write_rejects(context, curated.rejects)
    _write_counts(context, curated.counts)
    return {"read": len(records), "kept": len(curated.records), "rejected": len(curated.rejects)}


def _instructions(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.instructions import build_instructions

    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    built = build_instructions(records, context.recipe.corpus.build, context.recipe_folder)
    write_rows(context.folder / ROWS, built.rows, "instruction")
    _write_rejects(context, built.rejects)
    return {"rows": len(built.rows), **built.counts}


def _cpt_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.hybrid import account, cpt_set

    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    rows = read_rows(context.inputs["corpus/instructions"] / ROWS, "instruction")
    built = cpt_set(records, rows, context.recipe.corpus.build.cpt, context.recipe.seed)
    write_rows(context.folder / ROWS, built, "cpt")
    characters = sum(len(row["text"]) for row in built)
    return {"rows": len(built), "characters": characters, **account(records, rows, built)}


def _sft_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.sft import sft_set

    rows = sft_set(_instruction_rows(context))
    if all(row["task"] != "general" for row in rows):
        context.console.print(
            "  [yellow]warning:[/yellow] no general or multi-department row for SFT: all sources are pediatric; "
            "add general ones, or phase 2 learns only who it is",
            highlight=False,
        )
    return _instruction_set(context, rows)


def _expert_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.expert_set import expert_set

    built = expert_set(_instruction_rows(context), context.recipe.corpus.build.experts, context.recipe.seed)
    _write_counts(context, {task: asdict(count) for task, count in built.counts.items()})
    return _instruction_set(context, built.rows)


def _held_out_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.held_out import held_out_set

    return _instruction_set(context, held_out_set(_instruction_rows(context)))


def _instruction_rows(context: Context) -> list[dict[str, Any]]:
    return read_rows(context.inputs["corpus/instructions"] / ROWS, "instruction")


def _instruction_set(context: Context, rows: list[dict[str, Any]]) -> dict[str, Any]:
    write_rows(context.folder / ROWS, rows, "instruction")
    tasks = sorted({row["task"] for row in rows})
    return {"rows": len(rows), **{task: sum(row["task"] == task for row in rows) for task in tasks}}


def _card(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.card import write_card

    return write_card(context.recipe.name, context.inputs, context.folder)


def _base(context: Context) -> dict[str, Any]:
    from pediatricsgpt.models.load import make_base

    return make_base(context.recipe.model, context.folder, context.recipe_folder, context.recipe.seed)


def _train(phase: str, context: Context) -> dict[str, Any]:
    import importlib

    from pediatricsgpt.training.phase import Job

    model, data = context.inputs
    train = importlib.import_module(f"{_PACKAGE}.training.{_PHASE_MODULES.get(phase, phase)}").train
    job = Job(
        name=phase,
        model=context.inputs[model],
        data=context.inputs[data] / ROWS,
        folder=context.folder,
        seed=context.recipe.seed,
        console=context.console,
    )
    counts: dict[str, Any] = train(job, getattr(context.recipe, phase))
    return counts


def _preferences(context: Context) -> dict[str, Any]:
    """Medical pairs need low answers of this run's own SFT model; general ones come from the sources."""
    from pediatricsgpt.corpus.build import preferences
    from pediatricsgpt.models.answers import Prompt, answer_all
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load

    settings = context.recipe.corpus.build.preferences
    rows = _instruction_rows(context)
    sampling = Sampling(max_new_tokens=settings.max_new_tokens)
    engine = Engine(load(context.inputs["sft"]), sampling, batch_size=16)
    asked = preferences.prompts_for_low_answers(rows, settings, context.recipe.seed)
    prompts = [Prompt(row["id"], row["messages"]) for row in asked if engine.fits(row["messages"])]
    kept = context.folder / "low_answers.jsonl"
    with progress(context.console, "low answers", len(prompts)) as advance:
        answers = answer_all(engine, prompts, kept, advance)
    kept.unlink()
    medical, rejects = preferences.medical_pairs(
        rows, {prompt.id: answer for prompt, answer in zip(prompts, answers, strict=True)}
    )
    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    general, general_rejects = preferences.general_pairs(records, settings)
    pairs, left_out = [*medical, *general], [*rejects, *general_rejects]
    read = len(prompts) + sum(record.shape == "preference" for record in records)
    if len(pairs) + len(left_out) != read:
        raise RuntimeError(f"preferences: {read} read, but {len(pairs)} pairs and {len(left_out)} rejects")
    write_rows(context.folder / ROWS, pairs, "preference")
    _write_rejects(context, left_out)
    counted = json.dumps(preferences.statistics(pairs, left_out), ensure_ascii=False, indent=1)
    (context.folder / "statistics.json").write_text(counted, encoding="utf-8")
    return {
        "medical_pairs": len(medical),
        "general_pairs": len(general),
        "read": read,
        "kept": len(pairs),
        "rejected": len(left_out),
        **preferences.prompt_counts(rows, settings),
    }


def _evaluate(model: str, context: Context) -> dict[str, Any]:
    from pediatricsgpt.evaluation import evaluate

    held_out = context.inputs["corpus/held_out"] / ROWS
    settings = context.recipe.evaluation
    with progress(context.console, f"evaluating {model}", evaluate.workload(held_out, settings)) as advance:
        return evaluate.evaluate(
            model,
            context.inputs[model],
            held_out,
            context.folder,
            settings,
            context.recipe.seed,
            advance,
        )
