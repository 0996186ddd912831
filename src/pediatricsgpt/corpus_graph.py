"""The corpus room's nodes of a run: from sources to the training sets, the held-out set and the card.

sources -> curated -> instructions -> held_out -> sets (cpt, sft, experts), each without what the test sets hold -> card
deidentification measures, before anything is built, how well personal data are found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pediatricsgpt import teachers
from pediatricsgpt.manifest import digest
from pediatricsgpt.progress import progress
from pediatricsgpt.recipe import Recipe
from pediatricsgpt.records import (
    Record,
    RecordWriter,
    read_records,
    read_rows,
    write_json_lines,
    write_rows,
)
from pediatricsgpt.run import Context, Node
from pediatricsgpt.training_sets import (
    GENERAL_VALIDATION,
    HELD_OUT,
    REJECTS,
    ROWS,
    VALIDATION,
    apart,
    without_test_items,
    write_json,
    write_rejects,
    write_set,
    write_training_set,
    write_validation,
)

RECORDS = "records.parquet"
MEASURED = "measured.json"
PASSES = "passes.jsonl"
"""What teachers wrote, pass by pass, and why it was not kept"""

_DEIDENTIFICATION = "corpus/deidentification"
_SETS = ("corpus/cpt", "corpus/sft", "corpus/experts")


def modules(*names: str) -> tuple[str, ...]:
    """Modules of ours by their full names."""
    return tuple(f"pediatricsgpt.{name}" for name in names)


def dump(settings: Any) -> dict[str, Any]:
    """Settings as plain values."""
    dumped: dict[str, Any] = settings.model_dump(mode="json")
    return dumped


def without_teacher(settings: Any) -> dict[str, Any]:
    """A rule's settings without its teacher's: of those a result depends on the model alone (`teachers.identities`)."""
    return {name: value for name, value in dump(settings).items() if name not in ("teacher", "weaker")}


def base_files(recipe: Recipe, recipe_folder: Path) -> list[Path]:
    """What the base depends on: the tokenizer of a new model, or the folder of an existing one."""
    named = recipe.model.tokenizer if recipe.model.init else recipe.model.base
    folder = recipe_folder / str(named)
    files = [folder] if folder.is_dir() else []
    return files + ([recipe_folder / recipe.model.chat_template] if recipe.model.chat_template else [])


def nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    """The nodes that need no model, each after everything that it needs."""
    return [
        *_source_nodes(recipe, recipe_folder),
        *_record_nodes(recipe, recipe_folder),
        *_set_nodes(recipe, recipe_folder),
    ]


def _source_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    from pediatricsgpt.corpus.sources import consumed_files

    return [
        Node(
            name=f"corpus/sources/{source.name}",
            inputs=(),
            settings=source.model_dump(mode="json"),
            modules=modules("corpus.sources"),
            work=partial(_read, index),
            files=partial(consumed_files, source, recipe_folder),
        )
        for index, source in enumerate(recipe.corpus.sources)
    ]


def _record_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    corpus = recipe.corpus
    model = [recipe_folder / corpus.deidentify.ner_model] if corpus.deidentify.ner_model else []
    key = [recipe_folder / corpus.deidentify.key_file] if corpus.deidentify.key_file else []
    sources = tuple(f"corpus/sources/{source.name}" for source in corpus.sources)
    steps = {name: dump(getattr(corpus, name)) for name in ("deidentify", "clean", "quality", "deduplicate", "split")}
    return [
        Node(
            _DEIDENTIFICATION,
            (),
            {"deidentify": steps["deidentify"], "changes_something": corpus.names_patients},
            modules("corpus.deidentify.measure"),
            _measure_deidentification,
            files=lambda: [*model, *(file for file in key if file.is_file())],
        ),
        Node(
            "corpus/curated",
            (*sources, _DEIDENTIFICATION),
            {**steps, "seed": recipe.seed, "order": sources},
            modules("corpus.execute"),
            _curate,
            files=lambda: model,
        ),
    ]


def _set_nodes(recipe: Recipe, recipe_folder: Path) -> list[Node]:
    build, seed = recipe.corpus.build, {"seed": recipe.seed}
    tokens = build.cpt.unit == "tokens"
    own = (build.behaviour.file, build.behaviour.safety_file)
    behaviour = [recipe_folder / file for file in own if file is not None]
    rules = {name: without_teacher(getattr(build, name)) for name in ("role_play", "reconstruct", "distill")}
    rules |= {name: dump(getattr(build, name)) for name in ("behaviour", "general")}
    instructions = Node(
        "corpus/instructions",
        ("corpus/curated",),
        {**rules, "teachers": teachers.identities(recipe, teachers.REWRITING)},
        modules("corpus.build.instructions"),
        _instructions,
        files=lambda: behaviour,
    )
    held_out = Node(HELD_OUT, ("corpus/instructions",), {}, modules("corpus.build.held_out"), _held_out_set)
    cpt = training_set_node(
        recipe,
        recipe_folder,
        "corpus/cpt",
        ("corpus/curated", "corpus/instructions"),
        {"cpt": dump(build.cpt), **seed, **({"model": dump(recipe.model)} if tokens else {})},
        ("corpus.build.hybrid", *(("models.load",) if tokens else ())),
        _cpt_set,
        files=base_files(recipe, recipe_folder) if tokens else [],
    )
    sft = training_set_node(
        recipe, recipe_folder, "corpus/sft", ("corpus/instructions",), {}, ("corpus.build.sft",), _sft_set
    )
    experts = training_set_node(
        recipe,
        recipe_folder,
        "corpus/experts",
        ("corpus/instructions",),
        {"experts": dump(build.experts), **seed},
        ("corpus.build.expert_set",),
        _expert_set,
    )
    sources = tuple(f"corpus/sources/{source.name}" for source in recipe.corpus.sources)
    card = Node(
        "corpus/card",
        (*sources, _DEIDENTIFICATION, "corpus/curated", "corpus/instructions", HELD_OUT, *_SETS),
        {"name": recipe.name},
        modules("corpus.card"),
        _card,
        reads_all=True,
    )
    return [instructions, held_out, cpt, sft, experts, card]


def training_set_node(
    recipe: Recipe,
    recipe_folder: Path,
    name: str,
    inputs: tuple[str, ...],
    settings: dict[str, Any],
    code: tuple[str, ...],
    work: Any,
    trains: bool = False,
    files: Sequence[Path] = (),
) -> Node:
    """A node that builds a training set and takes out what stands in the held-out rows or a named test set."""
    against = recipe.corpus.decontaminate
    return Node(
        name,
        (*inputs, HELD_OUT),
        {
            **settings,
            "decontaminate": dump(against),
            "validation": [recipe.corpus.split.validation, recipe.seed],
        },
        modules(*code, "corpus.decontaminate", "corpus.split"),
        work,
        files=lambda: [*files, *(file for one in against.against for file in _test_files(one.path, recipe_folder))],
        trains=trains,
    )


def _test_files(path: Path, recipe_folder: Path) -> list[Path]:
    from pediatricsgpt.corpus.sources import files_of

    return files_of(path, recipe_folder)


# -- what the nodes do -------------------------------------------------------------------------------------------------


def _read(index: int, context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.sources import Reading

    reading = Reading(context.recipe.corpus.sources[index], context.recipe_folder)
    rejected = 0
    with (
        RecordWriter(context.folder / RECORDS) as writer,
        (context.folder / REJECTS).open("w", encoding="utf-8") as rejects,
    ):
        for item in reading:
            if isinstance(item, Record):
                writer.add(item)
            else:
                rejected += 1
                rejects.write(json.dumps(item.as_dict(), ensure_ascii=False) + "\n")
    # The readers account for the rows of each file; several records may come of one row, or one of several.
    return {"read": writer.written + rejected, "kept": writer.written, "rejected": rejected, **reading.counts}


def _measure_deidentification(context: Context) -> dict[str, Any]:
    """Fails where the measured recall is below the floor of the recipe: nothing is built, so nothing is published."""
    from pediatricsgpt.corpus.deidentify.find import finder_of
    from pediatricsgpt.corpus.deidentify.key import load_key, located
    from pediatricsgpt.corpus.deidentify.measure import check_floor, measure

    settings = located(context.recipe.corpus.deidentify, context.recipe_folder, context.run_folder)
    if not settings.enabled:
        write_json(context.folder / MEASURED, {"enabled": False})
        return {}
    measured = measure(finder=finder_of(settings))
    # With another key the records get other surrogates: its mark makes what follows be done again.
    mark = digest(load_key(settings.key_file).hex())[:16] if settings.key_file else None
    write_json(context.folder / MEASURED, {"enabled": True, "key": mark, **measured.as_dict()})
    if context.recipe.corpus.names_patients:
        check_floor(measured, settings)
    return {}


def _curate(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.deidentify.key import located
    from pediatricsgpt.corpus.execute import curate, parts_of

    files = [folder / RECORDS for name, folder in context.inputs.items() if name != _DEIDENTIFICATION]
    corpus = context.recipe.corpus
    own = located(corpus.deidentify, context.recipe_folder, context.run_folder)
    settings = corpus.model_copy(update={"deidentify": own})
    total = sum(part.rows for part in parts_of(files))
    with progress(context.console, "records", total) as advance:
        counts = curate(files, settings, context.recipe.seed, context.folder, advance)
    kept = counts["split"]["kept"] if counts else 0
    return {"read": total, "kept": kept, "rejected": total - kept}


def _instructions(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.instructions import build_instructions

    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    settings = context.recipe.corpus.build
    with (
        teachers.opened(context.recipe, teachers.REWRITING, context.run_folder) as asked,
        progress(context.console, "teacher's answers", None) as advance,
    ):
        built = build_instructions(records, settings, context.recipe_folder, asked, advance)
        spent = teachers.usage(asked)
    write_rows(context.folder / ROWS, built.rows, "instruction")
    write_rejects(context, built.rejects)
    if asked:
        write_json_lines(context.folder / PASSES, built.passes)
    return {"rows": len(built.rows), **built.counts, **spent}


def _cpt_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.hybrid import account, cpt_set, is_general

    records = read_records(context.inputs["corpus/curated"] / RECORDS)
    rows = instruction_rows(context)
    settings = context.recipe.corpus.build.cpt
    length = _length(context)
    built = cpt_set(records, rows, settings, context.recipe.seed, length)
    kept, counts = write_training_set(context, built, "cpt")
    general = {record.id for record in records if is_general(record)}
    if (watched := context.folder / VALIDATION).is_file():
        rows_of_general = [row for row in read_rows(watched, "cpt") if row["parents"][0] in general]
        write_validation(context, rows_of_general, "cpt", GENERAL_VALIDATION)
    characters = sum(len(row["text"]) for row in kept)
    return {**counts, "characters": characters, **account(records, rows, kept, length)}


def _length(context: Context) -> Callable[[str], int]:
    """How long a text is, in the unit in which the shares of the CPT stream are counted."""
    if context.recipe.corpus.build.cpt.unit == "characters":
        return len
    from pediatricsgpt.models.load import tokenizer_of

    tokenizer = tokenizer_of(context.recipe.model, context.recipe_folder)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _sft_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.sft import sft_set

    rows = sft_set(instruction_rows(context))
    if all(row["task"] != "general" for row in rows):
        context.console.print(
            "  [yellow]warning:[/yellow] no general or multi-department row for SFT: all sources are pediatric; "
            "add general ones, or phase 2 learns only who it is",
            highlight=False,
        )
    kept, counts = write_training_set(context, rows, "instruction")
    return {**counts, **_by_task(kept)}


def _expert_set(context: Context) -> dict[str, Any]:
    """Balanced from what is left without the test items, so that the three tasks stay equal."""
    from pediatricsgpt.corpus.build.expert_set import expert_set
    from pediatricsgpt.corpus.build.rows import trained

    kept, dropped, report = without_test_items(context, list(filter(trained, instruction_rows(context))))
    kept, validation = apart(context, kept)
    built = expert_set(kept, context.recipe.corpus.build.experts, context.recipe.seed)
    write_json(context.folder / "counts.json", {task: asdict(count) for task, count in built.counts.items()})
    write_set(context, built.rows, "instruction", dropped, report)
    tasks = {row["task"] for row in built.rows}
    validation = [row for row in validation if row["task"] in tasks]
    write_validation(context, validation, "instruction")
    counts = {"rows": len(built.rows), "validation_rows": len(validation), "decontaminated": len(dropped)}
    return {**counts, **_by_task(built.rows)}


def _held_out_set(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.build.held_out import held_out_set

    rows = held_out_set(instruction_rows(context))
    write_rows(context.folder / ROWS, rows, "instruction")
    return {"rows": len(rows), **_by_task(rows)}


def instruction_rows(context: Context) -> list[dict[str, Any]]:
    """All instruction rows of the corpus, of both sides of the split."""
    return read_rows(context.inputs["corpus/instructions"] / ROWS, "instruction")


def _by_task(rows: list[dict[str, Any]]) -> dict[str, int]:
    tasks = sorted({row["task"] for row in rows})
    return {task: sum(row["task"] == task for row in rows) for task in tasks}


def _card(context: Context) -> dict[str, Any]:
    from pediatricsgpt.corpus.card import write_card

    return write_card(context.recipe.name, context.inputs, context.folder)
