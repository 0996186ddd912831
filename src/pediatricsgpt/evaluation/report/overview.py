"""The head of the report: the run in a few facts, what to look at first, and a summary in Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.compare import Change
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.deidentification import Deidentification, deidentification
from pediatricsgpt.evaluation.report.files import PHASES, RunFiles
from pediatricsgpt.evaluation.report.leakage import Against, Leakage, against, groups
from pediatricsgpt.evaluation.report.pipeline import Step
from pediatricsgpt.evaluation.report.scores import Losses, Measured
from pediatricsgpt.evaluation.report.shortcuts import Shortcuts
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


@dataclass(frozen=True, slots=True)
class Checks:
    """What was checked before anything was trained."""

    deidentification: Deidentification | None
    groups: Leakage | None
    against: Sequence[Against]


def checks(run: RunFiles) -> Checks:
    """De-identification and leakage of a run."""
    return Checks(deidentification(run), groups(run), against(run))


def overview(run: RunFiles) -> Overview:
    """Name, dates, versions, time and memory, from the manifests of all steps that are done."""
    done = list(run.done().values())
    size = parameters(run)
    seconds = sum(manifest.seconds for manifest in done)
    trained = sum(manifest.seconds for manifest in done if manifest.node in PHASES)
    facts = [
        ("steps done", f"{len(done)} of {len(run.nodes)}"),
        *([] if run.is_comparison else [("base model", f"{words.millions(size)} parameters" if size else "–")]),
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
    checked: Checks,
    phases: Sequence[Phase],
    style: Shortcuts | None,
    losses: Losses,
    measured: Measured | None,
) -> list[Notice]:
    """What somebody should look at before believing the numbers, worst first."""
    found = [*_check_notices(checked)]
    if outdated := [step.name for step in steps if step.state == "outdated"]:
        found.append(Notice(f"Made from older inputs, run again: {', '.join(outdated)}.", "pipeline", True))
    mixed = [package for package, versions in _versions(run) if ", " in versions]
    if mixed:
        found.append(Notice(f"Steps were done with several versions of {', '.join(mixed)}.", "lineage", False))
    found += _training_notices(phases, style)
    if not losses.same:
        found.append(Notice("The held-out losses were not measured on the same tokens.", "loss", True))
    if measured and measured.warnings:
        found.append(Notice(f"{len(measured.warnings)} warnings about the metrics.", "metrics", False))
    if missing := [step.name for step in steps if step.state in ("not run yet", "unfinished")]:
        found.append(Notice(f"Not run yet: {len(missing)} of {len(steps)} steps.", "pipeline", False))
    return sorted(found, key=lambda notice: not notice.bad)


def _check_notices(checked: Checks) -> list[Notice]:
    found = []
    if checked.groups and checked.groups.both:
        both = len(checked.groups.both)
        text = f"{both} groups stand in training and in the held-out set: no number below can be trusted."
        found.append(Notice(text, "leakage", True))
    for one in checked.against:
        if not one.removed:
            text = f"{one.matched_rows} rows of {one.training_set} hold items of the test set {one.test_set}."
            found.append(Notice(f"{text} They were not removed.", "leakage", True))
    personal = checked.deidentification
    if personal and not personal.enabled:
        found.append(Notice("De-identification is switched off.", "deidentification", True))
    if personal and personal.lowered:
        groups = " and ".join(personal.lowered)
        text = f"The recipe accepts a lower recall on {groups} than the usual one."
        found.append(Notice(text, "deidentification", False))
    return found


def _training_notices(phases: Sequence[Phase], style: Shortcuts | None) -> list[Notice]:
    stopped = [phase for phase in phases if phase.stopped]
    found = [
        Notice(f"{words.model(phase.name)} stopped {phase.stopped}.", f"phase-{phase.name}", False) for phase in stopped
    ]
    if style and style.above:
        told = f"AUC {style.auc:.2f}, n = {style.n:,} pairs"
        found.append(Notice(f"Style alone tells the preferred answers from the low ones ({told}).", "shortcuts", False))
    return found + [Notice(text, "training", False) for phase in phases if (text := chosen_warning(phase))]


def chinese_summary(
    run: RunFiles,
    checked: Checks,
    phases: Sequence[Phase],
    style: Shortcuts | None,
    losses: Losses,
    measured: Measured | None,
) -> list[tuple[str, str]]:
    """The results in a few lines of Chinese: (subject, text)."""
    found = [*_chinese_corpus(run), *_chinese_personal(checked.deidentification), *_chinese_split(checked)]
    found += _chinese_training(phases, style)
    return [*found, *_chinese_loss(losses), *_chinese_changes(measured)]


def _chinese_training(phases: Sequence[Phase], style: Shortcuts | None) -> list[tuple[str, str]]:
    done = [(phase, phase.manifest) for phase in phases if phase.manifest]
    if not done:
        return [("训练", "尚未运行。")]
    names = "、".join(words.MODEL_NAMES[phase.name][1] for phase, _ in done)
    text = f"{len(done)} 个阶段（{names}），共 {words.duration(sum(manifest.seconds for _, manifest in done))}。"
    if stopped := [words.MODEL_NAMES[phase.name][1] for phase, _ in done if phase.stopped]:
        text += f"提前停止：{'、'.join(stopped)}，原因见训练一节。"
    found = [("训练", text)]
    left = [
        f"{words.MODEL_NAMES[phase.name][1]} {phase.account.rows:,} 条中 {phase.account.left_out:,} 条"
        f"（{'、'.join(f'{reason.chinese} {reason.rows:,}' for reason in phase.account.reasons)}）"
        for phase, _ in done
        if phase.account and phase.account.left_out
    ]
    if left:
        found.append(("未用于训练", f"{'；'.join(left)}。"))
    if style and style.auc is not None:
        verdict = "，模型可能学到文风而非内容" if style.above else ""
        told = f"AUC {style.auc:.2f}（n = {style.n:,} 对，0.5 为无法区分）"
        found.append(("偏好对文风", f"仅凭文风区分优劣回答：{told}{verdict}。"))
    return found


def _chinese_corpus(run: RunFiles) -> list[tuple[str, str]]:
    curated, instructions = run.manifest("corpus/curated"), run.manifest("corpus/instructions")
    if curated is None:
        return [("语料", "尚未构建。")]
    read, kept = (int(curated.counts.get(name, 0)) for name in ("read", "kept"))
    text = f"{len(run.sources)} 个来源，共 {read:,} 条，清洗去重后保留 {kept:,} 条"
    return [("语料", f"{text}，构建指令 {instructions.counts.get('rows', 0):,} 条。" if instructions else f"{text}。")]


def _chinese_personal(personal: Deidentification | None) -> list[tuple[str, str]]:
    if personal is None:
        return []
    if not personal.enabled:
        return [("去标识化", "未启用。")]
    rates = "、".join(f"{words.personal(rate.name)[1]} {words.percent(rate.value)}" for rate in personal.recall)
    replaced = f"替换 {sum(number for _, number in personal.replaced):,} 处；" if personal.records is not None else ""
    return [("去标识化", f"{replaced}内置测试集召回率：{rates}。规则不识别的信息仍可能残留。")]


def _chinese_split(checked: Checks) -> list[tuple[str, str]]:
    groups = checked.groups
    if groups is None:
        return []
    if groups.both:
        return [("数据泄漏", f"有 {len(groups.both)} 组同时出现在训练集与留出集，以下结果不可信。")]
    apart = f"训练集 {groups.train:,} 组，留出集 {groups.held_out:,} 组，交集 0"
    if not checked.against:
        return [("数据泄漏", f"{apart}。")]
    rows = sum(one.matched_rows for one in checked.against)
    left = sum(one.matched_rows for one in checked.against if not one.removed)
    found = f"与测试集内容重合的训练数据 {rows:,} 条，" + (f"其中 {left:,} 条未剔除！" if left else "均已剔除。")
    return [("数据泄漏", f"{apart}；{found if rows else '未发现与测试集内容重合的训练数据。'}")]


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
