"""The head of the report: the run in a few facts, what to look at first, and a summary in Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.compare import Change
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.corpus import Leakage
from pediatricsgpt.evaluation.report.files import PHASES, RunFiles
from pediatricsgpt.evaluation.report.pipeline import Step
from pediatricsgpt.evaluation.report.scores import Losses, Measured
from pediatricsgpt.evaluation.report.training import Phase, chosen_warning, parameters

SMALL_MODEL = 100_000_000
_VERDICTS = {"better": "变好", "worse": "变差", "no verdict": "无定论"}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to look at, with the section that says more."""

    text: str
    section: str
    bad: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The run in a few facts."""

    name: str
    finished: str
    facts: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    small_model: str
    """Size of the base, if it is too small to be taken for an assistant; else empty"""
    time: str


def overview(run: RunFiles) -> Overview:
    """Name, dates, versions, time and memory, from the manifests of all steps that are done."""
    done = list(run.done().values())
    size = parameters(run)
    seconds = sum(manifest.seconds for manifest in done)
    trained = sum(manifest.seconds for manifest in done if manifest.node in PHASES)
    facts = [
        ("steps done", f"{len(done)} of {len(run.nodes)}"),
        ("base model", f"{words.millions(size)} parameters" if size else "–"),
        ("seed", ", ".join(str(seed) for seed in sorted({manifest.seed for manifest in done})) or "–"),
        ("threads", ", ".join(str(n) for n in sorted({manifest.threads for manifest in done} - {0})) or "–"),
        ("computing time", words.duration(seconds) if done else "–"),
        ("peak memory", words.memory(max(manifest.peak_memory_mb for manifest in done)) if done else "–"),
    ]
    finished = max((manifest.finished for manifest in done), default="")
    small = words.millions(size) if size and size < SMALL_MODEL else ""
    name = str(run.recipe.get("name") or run.folder.resolve().name)
    return Overview(name, words.day(finished), facts, _versions(run), small, words.duration(trained) if trained else "")


def _versions(run: RunFiles) -> list[tuple[str, str]]:
    """Each package with its version; where steps were done with several, all of them."""
    found: dict[str, list[str]] = {}
    for manifest in run.done().values():
        for package, version in manifest.versions.items():
            if version not in found.setdefault(package, []):
                found[package].append(version)
    return [(package, ", ".join(versions)) for package, versions in found.items()]


def notices(
    run: RunFiles,
    steps: Sequence[Step],
    leakage: Leakage | None,
    phases: Sequence[Phase],
    losses: Losses,
    measured: Measured | None,
) -> list[Notice]:
    """What somebody should look at before believing the numbers, worst first."""
    found = []
    if leakage and leakage.both:
        text = f"{len(leakage.both)} groups stand in training and in the held-out set: no number below can be trusted."
        found.append(Notice(text, "corpus", True))
    if outdated := [step.name for step in steps if step.state == "outdated"]:
        found.append(Notice(f"Made from older inputs, run again: {', '.join(outdated)}.", "pipeline", True))
    mixed = [package for package, versions in _versions(run) if ", " in versions]
    if mixed:
        found.append(Notice(f"Steps were done with several versions of {', '.join(mixed)}.", "lineage", False))
    found += [Notice(text, "training", False) for phase in phases if (text := chosen_warning(phase))]
    if not losses.same:
        found.append(Notice("The held-out losses were not measured on the same tokens.", "loss", True))
    if measured and measured.warnings:
        found.append(Notice(f"{len(measured.warnings)} warnings about the metrics.", "metrics", False))
    if missing := [step.name for step in steps if step.state in ("not run yet", "unfinished")]:
        found.append(Notice(f"Not run yet: {len(missing)} of {len(steps)} steps.", "pipeline", False))
    return sorted(found, key=lambda notice: not notice.bad)


def chinese_summary(
    run: RunFiles, leakage: Leakage | None, losses: Losses, measured: Measured | None
) -> list[tuple[str, str]]:
    """The results in a few lines of Chinese: (subject, text)."""
    found = [*_chinese_corpus(run), *_chinese_split(leakage)]
    done = [name for name in PHASES if run.manifest(name)]
    if done:
        seconds = sum(manifest.seconds for name in done if (manifest := run.manifest(name)))
        names = "、".join(words.MODEL_NAMES[name][1] for name in done)
        found.append(("训练", f"{len(done)} 个阶段（{names}），共 {words.duration(seconds)}。"))
    else:
        found.append(("训练", "尚未运行。"))
    return [*found, *_chinese_loss(losses), *_chinese_changes(measured)]


def _chinese_corpus(run: RunFiles) -> list[tuple[str, str]]:
    curated, instructions = run.manifest("corpus/curated"), run.manifest("corpus/instructions")
    if curated is None:
        return [("语料", "尚未构建。")]
    read, kept = (int(curated.counts.get(name, 0)) for name in ("read", "kept"))
    text = f"{len(run.sources)} 个来源，共 {read:,} 条，清洗去重后保留 {kept:,} 条"
    return [("语料", f"{text}，构建指令 {instructions.counts.get('rows', 0):,} 条。" if instructions else f"{text}。")]


def _chinese_split(leakage: Leakage | None) -> list[tuple[str, str]]:
    if leakage is None:
        return []
    if leakage.both:
        return [("数据泄漏", f"有 {len(leakage.both)} 组同时出现在训练集与留出集，以下结果不可信。")]
    return [("数据泄漏", f"未发现：训练集 {leakage.train:,} 组，留出集 {leakage.held_out:,} 组，交集 0。")]


def _chinese_loss(losses: Losses) -> list[tuple[str, str]]:
    if not losses.rows:
        return [("评测", "尚未运行。")]
    parts = [f"{words.MODEL_NAMES[loss.model][1]} {loss.value.mean:.2f}" for loss in losses.rows]
    n = losses.rows[0].value.n
    return [("留出集损失", f"{' → '.join(parts)}（越低越好，n = {n:,} 条）。")]


def _chinese_changes(measured: Measured | None) -> list[tuple[str, str]]:
    """What all phases together did to ROUGE-L of each task: the last pair is the first model with the last."""
    parts = []
    for task in measured.tasks if measured else ():
        if task.changes:
            change = task.changes[-1][0]
            found = change.difference
            interval = f"[{words.signed(found.low, 1)}, {words.signed(found.high, 1)}]"
            verdict = f"{_VERDICTS[found.verdict]}（n = {found.n:,}）"
            name = words.label(task.task)[1] or task.task
            parts.append(f"{name} {words.signed(found.mean)} {interval}，{verdict}")
    if not parts or measured is None:
        return []
    first, last = (words.MODEL_NAMES[name][1] for name in (measured.models[0], measured.models[-1]))
    steps = [pair[0] for task in measured.tasks for pair in task.changes[:-1] if pair]
    worse = sum(_is_worse(change) for change in steps)
    setbacks = f"各阶段之间另有 {worse} 处变差，见指标一节。" if worse else ""
    title = f"{last}相对{first}（基座若为随机权重，与之相比变好并无意义）"
    return [("ROUGE-L 变化", f"{title}：{'；'.join(parts)}。{setbacks}")]


def _is_worse(change: Change) -> bool:
    return change.difference.verdict == "worse"
