"""Public benchmarks: every model's scores, differences, departments, choices, and what training had seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.compare import CHANGE_METRICS, MODELS
from pediatricsgpt.evaluation.compare.questions import HELD_OUT, sorted_models
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.choices import choices, selections
from pediatricsgpt.evaluation.report.contamination import Contamination, clean, contamination, matched
from pediatricsgpt.evaluation.report.files import BENCHMARKS, RunFiles, expected
from pediatricsgpt.evaluation.report.paired_table import paired
from pediatricsgpt.evaluation.report.plots import Dots
from pediatricsgpt.evaluation.report.singles import counted, groups_of, item_scores, unequal
from pediatricsgpt.evaluation.report.strata import by_stratum, department_table, strata
from pediatricsgpt.evaluation.report.tables import Column, Table, interval


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything that is shown of one benchmark."""

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    """Where it comes from, on what terms, and what of it was used"""
    scores: Table | None
    changes: Table | None
    clean_changes: Table | None
    """The same on items that stand in no training set; None where all of them stand in none"""
    departments: Table | None
    plots: Sequence[Dots]
    choices: Table | None
    choice_changes: Table | None
    choice_notes: Sequence[str]
    selections: Table | None
    selection_changes: Table | None
    contamination: Contamination | None
    signatures: Sequence[str]
    warnings: Sequence[tuple[str, str]]


def benchmarks(run: RunFiles) -> list[Benchmark]:
    """All that the run measured, by name.

    Raises:
        UserError: a file is damaged.
    """
    folders = sorted((run.folder / BENCHMARKS).glob("*"))
    return [
        _benchmark(run, one.name) for one in folders if one.is_dir() and not one.name.endswith((".partial", ".old"))
    ]


def names_of(run: RunFiles, benchmark: str) -> list[str]:
    """The models that were measured on a benchmark, ours first."""
    found = [path.name for path in (run.folder / BENCHMARKS / benchmark).glob("*") if path.is_dir()]
    return sorted_models([name for name in found if not name.endswith((".partial", ".old"))], models.order(run))


def _benchmark(run: RunFiles, name: str) -> Benchmark:
    names = names_of(run, name)
    found = {model: _scores(run, name, model) for model in names}
    scored = {model: one for model, one in found.items() if one is not None}
    singles = {model: item_scores(run, f"{BENCHMARKS}/{name}/{model}/item_scores.jsonl") for model in names}
    if name == HELD_OUT:
        _beside_ours(run, scored, singles)
    folders = {model: _folder(name, model) for model in singles}
    cases = groups_of(run, folders.values(), {folders[model]: one.keys() for model, one in singles.items()})
    leaked = contamination(run, name)
    about = _about(run, name, names)
    groups = {
        field: by_stratum(scored, field, run.folder / BENCHMARKS / name) for field in ("department", "task", "age_band")
    }
    chosen = choices(run, name, names, leaked)
    selected = selections(run, name, names, leaked)
    caption = f"{words.benchmark(name)}: change on the same items (paired), values times 100 配对差值"
    pairs = models.against(scored)
    plots = [strata(name, field, list(scored), values) for field, values in groups.items()]
    warnings = [*unequal(singles), *chosen.warnings, *selected.warnings]
    for model in names:
        warnings += [(model, said) for said in counted(run, _folder(name, model))]
    for model, one in scored.items():
        warnings += [(model, str(warning)) for warning in one.get("warnings", ())]
    return Benchmark(
        name=name,
        title=str(about.get("title", name)),
        facts=_facts(about),
        scores=_table(run, name, scored, singles, leaked, cases) if scored else None,
        changes=paired(f"{name}-changes", caption, singles, pairs, CHANGE_METRICS, cases),
        clean_changes=_clean_changes(name, caption, singles, pairs, leaked, cases),
        departments=department_table(name, list(scored), groups["department"]),
        plots=[one for one in [*plots, *chosen.plots] if one],
        choices=chosen.table,
        choice_changes=chosen.changes,
        choice_notes=chosen.notes,
        selections=selected.table,
        selection_changes=selected.changes,
        contamination=leaked,
        signatures=sorted({str(one.get("signature")) for one in scored.values()}),
        warnings=warnings,
    )


def _folder(benchmark: str, model: str) -> str:
    """Where a model's answers to a benchmark lie."""
    ours = benchmark == HELD_OUT and model in MODELS
    return f"evaluation/{model}" if ours else f"{BENCHMARKS}/{benchmark}/{model}"


def _clean_changes(
    name: str,
    caption: str,
    singles: Mapping[str, Mapping[str, Mapping[str, float]]],
    pairs: Sequence[tuple[str, str]],
    leaked: Contamination | None,
    cases: Mapping[str, str],
) -> Table | None:
    """Differences without the items that stand in a training set: what is better on those may only remember."""
    if leaked is None or not any(leaked.found & one.keys() for one in singles.values()):
        return None
    kept = {
        model: {item: values for item, values in one.items() if item not in leaked.found}
        for model, one in singles.items()
    }
    title = f"{caption}, on items that stand in no training set 剔除训练集中出现过的题"
    return paired(f"{name}-changes-clean", title, kept, pairs, CHANGE_METRICS, cases)


def _beside_ours(run: RunFiles, scored: dict[str, Any], singles: dict[str, Any]) -> None:
    """Other models on the run's own held-out items stand beside the run's models, whose answers lie elsewhere."""
    others = dict(scored)
    scored.clear()
    for model in MODELS:
        report = run.json(f"evaluation/{model}/scores.json")
        if report is not None:
            # What has to be said about them stands in the section of their own metrics.
            scored[model] = {**report, "warnings": []}
            singles[model] = item_scores(run, f"evaluation/{model}/item_scores.jsonl")
    scored.update(others)


def _scores(run: RunFiles, benchmark: str, model: str) -> dict[str, Any] | None:
    name = f"{BENCHMARKS}/{benchmark}/{model}/scores.json"
    found = run.json(name)
    with expected(run.folder / name):
        return None if found is None else dict(found)


def _about(run: RunFiles, benchmark: str, names: Sequence[str]) -> dict[str, Any]:
    """What `benchmark.json` says, from the benchmark's folder or from the first model that has one."""
    for name in (
        f"{BENCHMARKS}/{benchmark}/benchmark.json",
        *(f"{BENCHMARKS}/{benchmark}/{m}/benchmark.json" for m in names),
    ):
        found = run.json(name)
        if found is not None:
            with expected(run.folder / name):
                return dict(found)
    return {}


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    fields = {
        "home": "from",
        "licence": "licence",
        "citation": "cite as",
        "version": "version",
        "file_hash": "file hash",
    }
    found = [(title, str(about[field])) for field, title in fields.items() if about.get(field)]
    if "read" in about:
        dropped = [f"{reason} {number:,}" for reason, number in (about.get("dropped") or {}).items()]
        left = f"; left out: {', '.join(dropped)}" if dropped else ""
        found.append(("items", f"read {about['read']:,}, kept {about.get('kept', 0):,}{left}"))
    if about.get("left_out"):
        aside = ", ".join(f"{reason} {number:,}" for reason, number in about["left_out"].items())
        found.append(("not asked", aside))
    if about.get("kinds"):
        found.append(("kinds", ", ".join(f"{words.kind(kind)} {number:,}" for kind, number in about["kinds"].items())))
    if prompt := about.get("prompt"):
        found.append(("prompt", f"{prompt['name']} {prompt['version']} ({str(prompt['sha256'])[:12]})"))
    return found


def _table(
    run: RunFiles,
    name: str,
    scored: Mapping[str, Mapping[str, Any]],
    singles: Mapping[str, Mapping[str, Mapping[str, float]]],
    leaked: Contamination | None,
    cases: Mapping[str, str],
) -> Table:
    columns = [
        Column("model", "head"),
        Column("n", "count"),
        Column("empty", "count"),
        *([Column("items in training", "count"), Column("ROUGE-L, clean items", "points")] if leaked else []),
        *(Column(words.metric(metric), "points") for metric in METRICS),
    ]
    rows = []
    for model, one in scored.items():
        with expected(run.folder / BENCHMARKS / name / model / "scores.json"):
            row: list[Any] = [models.named(run, model), int(one["n"]), int(one["empty"])]
            scores = [interval(one["metrics"][metric]) for metric in METRICS]
        if leaked:
            values = {item: 100 * each["rouge-l"] for item, each in singles[model].items() if "rouge-l" in each}
            row += [matched(list(singles[model]), leaked), clean(values, leaked, cases)]
        rows.append([*row, *scores])
    caption = f"{words.benchmark(name)}: mean over n items, times 100, with 95 % interval 均值 ×100 与 95% 区间"
    return Table(f"{name}-scores", caption, columns, rows)
