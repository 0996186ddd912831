"""What is in a corpus, in numbers and as a dataset card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.croissant import croissant
from pediatricsgpt.corpus.plots import statistics_svg
from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.corpus.statistics import LABELS, Row, statistics
from pediatricsgpt.corpus.untouched import Untouched, untouched
from pediatricsgpt.records import ROW_GROUP, Reject, read_json_lines

_CHINESE = {
    "medkqa": "知识问答",
    "evidiag": "循证问诊",
    "trerecom": "治疗推荐",
    "general": "通用",
    "safety": "安全",
    "self": "自我认知",
    "specialised": "专业资料",
    "conversation": "真实医患对话",
    "distilled": "蒸馏数据",
    "behaviour": "行为",
    "neonate": "新生儿",
    "young_infant": "小婴儿",
    "infant": "婴儿",
    "toddler": "幼儿",
    "preschool": "学龄前",
    "school": "学龄",
    "adolescent": "青少年",
    "adult": "成人",
    "unknown": "未知",
    "plain": "纯文本",
    "instruction": "指令",
    "style": "文风",
    "train": "训练",
    "held_out": "留出",
}


def write_card(name: str, inputs: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write `README.md` (the dataset card), `statistics.json`, `statistics.svg` and `croissant.json` into a folder.

    Args:
        name: of the corpus.
        inputs: folders of the corpus by name: `corpus/curated` with its records, the sets with their rows; every one
            may have rejects, each set its `leakage.json`, and de-identification its measurement.
        folder: where to write.

    Returns:
        How many sets and rows the corpus has.
    """
    rejects = (Reject(**row) for place in inputs.values() for row in _rows_of_json(place / "rejects.jsonl"))
    places = {key.removeprefix("corpus/"): place for key, place in inputs.items()}
    sets = {key: _rows(place / "rows.parquet") for key, place in places.items() if _is_set(key, place)}
    counted = statistics(sets, rejects)
    files = {key: places[key] / "rows.parquet" for key in sets}
    sources = _sources([places["curated"] / "records.parquet", *files.values()])
    checks = Checks(
        measured=_json(places.get("deidentification", folder) / "measured.json"),
        replaced=_json(places["curated"] / "counts.json").get("deidentify", {}).get("extra", {}),
        untouched=untouched(places["curated"] / "records.parquet"),
        leakage={key: _json(place / "leakage.json") for key, place in places.items() if key in sets},
    )
    metadata = json.dumps(croissant(name, files, sources), ensure_ascii=False, indent=1)
    (folder / "statistics.json").write_text(json.dumps(counted, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "statistics.svg").write_text(statistics_svg(counted), encoding="utf-8")
    (folder / "croissant.json").write_text(metadata, encoding="utf-8")
    (folder / "README.md").write_text(dataset_card(name, counted, sources, checks), encoding="utf-8")
    return {"sets": len(sets), "rows": sum(one["rows"] for one in counted["sets"].values())}


@dataclass(frozen=True, slots=True)
class Checks:
    """What was checked before the corpus was written; empty where it was not."""

    measured: Mapping[str, Any] = field(default_factory=dict)
    """How well personal data are found, on the packaged test set"""
    replaced: Mapping[str, int] = field(default_factory=dict)
    """How many items of each kind were replaced"""
    leakage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The leakage report of each set"""
    untouched: Sequence[Untouched] = ()
    """The sources that were left as they are"""

    @property
    def deidentified(self) -> bool:
        """True where nothing but published books and tables was left as it is."""
        published = DeidentifySettings().exempt_kinds
        return bool(self.measured.get("enabled")) and all(one.kind in published for one in self.untouched)


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _is_set(key: str, place: Path) -> bool:
    """True of what goes to training or evaluation; `instructions` is what the sets are drawn from."""
    return key != "instructions" and (place / "rows.parquet").is_file()


def _rows_of_json(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        yield from (row for _, row in read_json_lines(path))


def _rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, some at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP, columns=columns):
            yield from batch.to_pylist()


def _sources(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The provenance of each source once, in the order in which they occur: of records, then of rows built without."""
    names = ("name", "kind", "licence", "consent", "purpose")
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for row in _rows(file, [f"source.{name}" for name in names]):
            found.setdefault(row["source"]["name"], {name: row["source"][name] for name in names})
    return list(found.values())


def dataset_card(
    name: str, counted: Mapping[str, Any], sources: Sequence[Row] = (), checks: Checks | None = None
) -> str:
    """A dataset card in the Hugging Face form: YAML front matter and Markdown.

    Args:
        name: of the corpus.
        counted: what `statistics` gave.
        sources: provenance of the sources, one mapping each with `name`, `kind`, `licence`, `consent`, `purpose`.
        checks: de-identification and leakage.
    """
    checks = checks or Checks()
    parts = [
        _front_matter(name, counted, checks),
        f"# {name} (儿科指令语料)",
        _INTRODUCTION,
        "## Sets (训练集)\n\n" + _sets_table(counted["sets"]),
        *(_set_section(title, values) for title, values in counted["sets"].items()),
        "## Statistics (统计)\n\n![Sources, tasks, departments, ages, lengths and drops](statistics.svg)",
        _sources_section(sources),
        _licences_section(counted["sets"]),
        _deidentification_section(checks),
        _leakage_section(checks.leakage),
        "## What was rejected (剔除记录)\n\n" + _rejects_table(counted["rejects"]),
        _LIMITS,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_INTRODUCTION = """Built with the PediatricsGPT toolchain after the construction rules of Yang et al., *PediatricsGPT*
(NeurIPS 2024), section 3. Three tasks: `medkqa` (知识问答, single-turn knowledge), `evidiag` (循证问诊, the assistant
asks, collects evidence, then concludes) and `trerecom` (治疗推荐, treatment of a described case). Every row carries its
source, the licence of that source, each transformation with its version, and the split by document, dialogue or
patient."""

_LIMITS = """## Limits (局限)

- Medical content is **not reviewed by doctors** unless a source says so. It holds errors; it is no medical advice
  (内容未经医生审核，不构成医疗建议).
- Labels (task, department, age band, whether a child is the patient) are given by published rules, not by hand.
- Each source keeps its own licence; whoever shares this corpus must honour all of them."""


_LICENCES = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "bsd-3-clause": "bsd-3-clause",
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "odc-by": "odc-by",
    "pddl": "pddl",
}
"""Licences as recipes name them -> identifiers of the Hugging Face hub"""


def _licence_lines(sets: Mapping[str, Any]) -> list[str]:
    """The identifiers of all licences in the sets; `other` where the hub has none, then with the names."""
    named = sorted({licence for values in sets.values() for licence in values.get("licence", {})})
    known = sorted({_LICENCES.get(licence.lower(), "other") for licence in named}) or ["other"]
    others = [licence for licence in named if licence.lower() not in _LICENCES]
    lines = ["license:", *(f"- {licence}" for licence in known)]
    return [*lines, f"license_name: {_quoted('; '.join(others))}"] if others else lines


def _quoted(text: str) -> str:
    """A YAML scalar: JSON's strings are some."""
    return json.dumps(text, ensure_ascii=False)


def _front_matter(name: str, counted: Mapping[str, Any], checks: Checks) -> str:
    rows = sum(values["rows"] for values in counted["sets"].values())
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    size = next((label for bound, label in bounds if rows < bound), "1M<n<10M")
    lines = [
        "---",
        f"pretty_name: {_quoted(name)}",
        "language:\n- zh",
        *_licence_lines(counted["sets"]),
        "annotations_creators:\n- machine-generated",
        "task_categories:\n- question-answering\n- text-generation",
        "tags:\n- medical\n- pediatrics\n- chinese\n- conversational",
        *(["- de-identified"] if checks.deidentified else []),
        f"size_categories:\n- {size}",
        "---",
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; words to the left, numbers to the right."""
    cells = [list(row) for row in rows]
    numbers = [bool(cells) and all(isinstance(row[place], int) for row in cells) for place in range(len(header))]
    lines = ["| " + " | ".join(header) + " |", "|" + "".join("---:|" if right else "---|" for right in numbers)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    """Names and reasons hold text of others: it must not end its cell, nor become a tag."""
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _sets_table(sets: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            v["rows"],
            v["distinct"],
            v["groups"],
            v["characters"],
            v["length"].get("p50", 0),
            v["length"].get("p95", 0),
        )
        for name, v in sets.items()
    ]
    return _table(("set", "rows", "distinct", "groups", "characters", "median length", "p95"), rows)


def _set_section(title: str, values: Mapping[str, Any]) -> str:
    labels = [label for label in (*LABELS, "turns", "source", "licence", "teacher") if values.get(label)]
    tables = [_table((label, "rows"), [(_named(key), n) for key, n in values[label].items()]) for label in labels]
    if not tables:
        return ""
    return "\n\n".join([f"<details>\n<summary>{title}: what it is made of (构成)</summary>", *tables, "</details>"])


def _named(key: str) -> str:
    return f"`{key}` {_CHINESE[key]}" if key in _CHINESE else key


def _sources_section(sources: Sequence[Row]) -> str:
    if not sources:
        return ""
    fields = ("name", "kind", "licence", "consent", "purpose")
    return "## Sources (来源)\n\n" + _table(fields, [[source[field] for field in fields] for source in sources])


def _licences_section(sets: Mapping[str, Any]) -> str:
    rows = [(name, licence, n) for name, values in sets.items() for licence, n in values.get("licence", {}).items()]
    return "## Licences (许可)\n\n" + _table(("set", "licence", "rows"), rows) if rows else ""


def _deidentification_section(checks: Checks) -> str:
    """What was replaced and what was left as it is, and how much of planted personal data the same rules find."""
    title = "## De-identification (去标识化)\n\n"
    if not checks.measured:
        return ""
    if not checks.measured.get("enabled"):
        return title + "Switched off by the recipe: nothing was replaced (未启用)."
    rates = [(f"recall, {group}", rate) for group, rate in checks.measured["recall"].items()]
    rates.append(("precision", checks.measured["precision"]))
    measured = [(name, f"{r['value']:.3f}", f"[{r['low']:.3f}, {r['high']:.3f}]", r["n"]) for name, r in rates]
    by_type = [
        (name, f"{r['value']:.3f}", f"[{r['low']:.3f}, {r['high']:.3f}]", r["n"])
        for name, r in checks.measured.get("recall_by_type", {}).items()
    ]
    header = ("measure", "value", "interval", "n")
    types = f"<details>\n<summary>Recall by type</summary>\n\n{_table(header, by_type)}\n\n</details>"
    replaced = _table(("kind", "replaced"), list(checks.replaced.items())) if checks.replaced else "Nothing was found."
    return (
        f"{title}Rules replace what identifies a person with invented names and marks; dates move by a constant number "
        "of days for each patient. What no rule knows stays: read samples before you share this corpus.\n\n"
        f"{replaced}\n\n{_untouched_part(checks)}\n\nMeasured on the packaged test set (planted personal data, blind "
        f"part), with Wilson's 95 % interval:\n\n{_table(header, measured)}" + (f"\n\n{types}" if by_type else "")
    )


def _untouched_part(checks: Checks) -> str:
    if not checks.untouched:
        return "No source was left as it is (所有来源均已处理)."
    rows = [(one.source, one.kind, one.why, one.records) for one in checks.untouched]
    warning = "Left as they are (未做去标识化的来源), with whatever of persons they hold:"
    if not checks.deidentified:
        warning += " **not only published books and tables, so this corpus as a whole is not de-identified**."
    return f"{warning}\n\n{_table(('source', 'kind', 'why', 'records'), rows)}"


def _leakage_section(leakage: Mapping[str, Mapping[str, Any]]) -> str:
    """Every training set against every test set."""
    rows = [
        (
            name,
            test_set,
            found["items"],
            found["unread"],
            found["matched_items"],
            report["rows"],
            found["matched_rows"],
            found["removed"],
            "; ".join(f"{kind}: {pairs}" for kind, pairs in found.get("pairs", {}).items()) or "–",
        )
        for name, report in leakage.items()
        for test_set, found in report.get("test_sets", {}).items()
    ]
    if not rows:
        return ""
    header = (
        "training set",
        "test set",
        "test items",
        "not readable",
        "items matched",
        "training rows",
        "of these matched",
        "removed",
        "pairs by side and kind",
    )
    note = "Both sides of every test item are looked for in every training row; the pairs are in `leakage.json`."
    return "\n\n".join([f"## Leakage (测试集泄漏)\n\n{note}", _table(header, rows), *_unread_part(leakage)])


def _unread_part(leakage: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of each test set that could not be read whole, how much and why; nothing looked for these items."""
    unread = {
        test_set: (found["unread"], found["unread_first"])
        for report in leakage.values()
        for test_set, found in report.get("test_sets", {}).items()
        if found["unread"]
    }
    rows = [(name, number, "; ".join(first)) for name, (number, first) in unread.items()]
    told = "Test items that could not be read, and so were not looked for (未能读取的测试题):"
    return [f"{told}\n\n{_table(('test set', 'items', 'the first'), rows)}"] if rows else []


def _rejects_table(rejects: Mapping[str, Mapping[str, int]]) -> str:
    rows = [(step, reason, n) for step, found in rejects.items() for reason, n in found.items()]
    return _table(("step", "reason", "items"), rows) if rows else "Nothing."
