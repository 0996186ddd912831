"""Pairwise verdicts, of language models and of doctors: who wins on what, and how far the judges can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

JUDGE = "evaluation/judge"
PANEL = "evaluation/panel/panel.json"
VALIDATION = "evaluation/validation/validation.json"
STRATA = ("department", "task", "age_band")
_STATISTICS = {
    "percent": "raw agreement",
    "kappa": "Cohen's kappa",
    "ac1": "Gwet's AC1",
    "alpha": "Krippendorff's alpha",
}

Dimensions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judged, and on what grounds it may be believed."""

    name: str
    model: str
    address: str
    validated: bool | None
    reason: str
    """Why it may judge although it also wrote training data, in the recipe's words; else empty"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Everything that is shown of two models' comparison."""

    id: str
    first: str
    second: str
    items: int
    headline: str
    """What may be said in one sentence; empty where nothing may"""
    refused: str
    """Why no headline may be given"""
    judges: Sequence[Judge]
    settings: str
    verdicts: Table
    order: Table
    by_judge: Sequence[Table]
    strata: Sequence[Table]
    agreement: Table | None
    consistency: Table | None
    warnings: Sequence[str]
    source: str


def judged(run: RunFiles) -> list[Pair]:
    """Every pair that language models compared, by name.

    Raises:
        UserError: a file is damaged.
    """
    return [_pair(run, name) for name in _names(run)]


def _names(run: RunFiles) -> list[str]:
    """The files of all pairs that are done."""
    pairs = sorted(path.parent.name for path in (run.folder / JUDGE).glob("*/judge.json"))
    return [f"{JUDGE}/{pair}/judge.json" for pair in pairs if not pair.endswith((".partial", ".old"))]


def panel(run: RunFiles) -> Pair | None:
    """What doctors said of a pair; None where they were not asked.

    Raises:
        UserError: the file is damaged.
    """
    return _pair(run, PANEL) if (run.folder / PANEL).is_file() else None


def validation(run: RunFiles) -> Table | None:
    """How the judges agree with a reference; None where that was not measured.

    Raises:
        UserError: the file is damaged.
    """
    report = run.json(VALIDATION)
    if report is None:
        return None
    rows = []
    with expected(run.folder / VALIDATION):
        for name, judge in report["judges"].items():
            # Where the reference knows no ties, agreement is told on the pairs that it decides.
            basis = "decided" if judge.get("basis") == "decided" else "agreement"
            overall = {"overall": judge["overall"]} if judge.get("overall") else {}
            for dimension, one in {**judge["dimensions"], **overall}.items():
                agreement = one[basis]
                rows.append(
                    [
                        str(name),
                        str(judge["against"]),
                        words.dimension(dimension),
                        int(one["n"]),
                        interval(one["accuracy"]),
                        *(interval(agreement.get(key)) for key in ("kappa", "ac1", "alpha")),
                        int(one["ties"]),
                        "passed 通过" if judge["passed"] else "not passed 未通过",
                        "decided pairs" if basis == "decided" else "all pairs",
                        str(judge["bar"]),
                    ]
                )
        what = "; ".join(dict.fromkeys(f"{judge['against']}: {judge['what']}" for judge in report["judges"].values()))
    columns = [
        Column("judge", "head"),
        Column("against"),
        Column("on"),
        Column("n pairs", "count"),
        Column("accuracy on decided pairs", "share"),
        *(Column(_STATISTICS[key], "value") for key in ("kappa", "ac1", "alpha")),
        Column("ties", "count"),
        Column("result"),
        Column("agreement on"),
        Column("bar", "wrap"),
    ]
    return Table("judge-validation", "The judges against a reference 裁判与参照的一致性", columns, rows, what)


def _pair(run: RunFiles, name: str) -> Pair:
    found = run.json(name)
    parent = name.rsplit("/", 2)[-2]
    id = "panel" if name == PANEL else "judge-" + name.removeprefix(f"{JUDGE}/").removesuffix("/judge.json")
    with expected(run.folder / name):
        first, second = (str(model) for model in found["models"])
        pair = f"{words.model(first)} against {words.model(second)}"
        dimensions: Dimensions = found["dimensions"]
        allowed, why = bool(found["headline"]["allowed"]), str(found["headline"]["why"])
        table = _verdicts(f"{id}-verdicts", f"{pair}: win, tie and loss of {words.model(first)} 胜/平/负", dimensions)
        single = [
            _verdicts(f"{id}-{judge}", f"{pair}: {judge} alone", one)
            for judge, one in found["by_judge"].items()
            if len(found["by_judge"]) > 1
        ]
        return Pair(
            id=id,
            first=first,
            second=second,
            items=int(found["items"]),
            headline=_headline(first, second, dimensions) if allowed else "",
            refused="" if allowed else why,
            judges=_judges(found),
            settings=_settings(found),
            verdicts=table,
            order=_order(f"{id}-order", pair, dimensions),
            by_judge=single,
            strata=[_strata(id, pair, field, found["strata"][field]) for field in STRATA if found["strata"].get(field)],
            agreement=_agreement(f"{id}-agreement", pair, found["agreement"]),
            consistency=_consistency(f"{id}-consistency", pair, found.get("self_consistency")),
            warnings=[str(warning) for warning in found["warnings"]],
            source=f"evaluation/{'panel' if name == PANEL else 'judge/' + parent}/{name.rsplit('/', 1)[-1]}",
        )


def _judges(found: Mapping[str, Any]) -> list[Judge]:
    """Language models are described; of doctors only the pseudonyms are known."""
    if "judges" in found:
        return [_judge(one) for one in found["judges"]]
    return [Judge(str(rater), "", "", None, "") for rater in found.get("raters", [])]


def _judge(one: Mapping[str, Any]) -> Judge:
    reason = str(one.get("reason") or "") if one.get("teacher_too") else ""
    if one.get("teacher_too") and not reason:
        reason = "no reason was given"
    validated = one.get("validated")
    return Judge(
        str(one["rater"]),
        str(one.get("model") or ""),
        str(one.get("base_url") or ""),
        None if validated is None else bool(validated),
        reason,
    )


def _settings(found: Mapping[str, Any]) -> str:
    settings, prompt = found.get("settings") or {}, found.get("prompt")
    words_of = {
        "both_orders": ("both orders shown", "one order shown"),
        "strip_markdown": ("Markdown taken out", "Markdown as it was"),
        "equal_length": ("longer answers cut", "lengths as they were"),
    }
    said = [yes if settings[key] else no for key, (yes, no) in words_of.items() if key in settings]
    if settings.get("repeats"):
        said.append(f"each asked {settings['repeats']} time{'s' if settings['repeats'] > 1 else ''}")
    if prompt:
        said.append(f"prompt {prompt['name']} {prompt['version']} ({str(prompt['sha256'])[:12]})")
    return "; ".join(said)


def _headline(first: str, second: str, dimensions: Dimensions) -> str:
    """One sentence of verdicts, of those dimensions alone that have one after Holm's correction."""
    decided: dict[str, list[str]] = {}
    for name, one in dimensions.items():
        decided.setdefault(str(one["verdict"]), []).append(words.dimension(name))
    parts = [f"{verdict} on {', '.join(decided[verdict])}" for verdict in ("better", "worse") if verdict in decided]
    if "no verdict" in decided:
        parts.append(f"no verdict on {', '.join(decided['no verdict'])}")
    return f"{words.model(first)} against {words.model(second)}: {'; '.join(parts)}."


def _verdicts(name: str, caption: str, dimensions: Dimensions) -> Table:
    columns = [
        Column("on", "head"),
        Column("n", "count"),
        Column("win · tie · loss", "stack"),
        *(Column(title, "share") for title in ("win", "tie", "loss")),
        Column("win minus loss", "signed"),
        Column("verdict", "verdict"),
        Column("p", "p"),
        Column("p (Holm)", "p"),
        Column("not readable", "count"),
    ]
    rows = [[words.dimension(dimension), *_verdict_cells(one)] for dimension, one in dimensions.items()]
    note = (
        "Solid: wins, grey: ties, hatched: losses; whiskers are 95 % intervals. A verdict needs an interval that does "
        "not touch zero, six items, and p of at most 0.05 after Holm's correction over the dimensions of this table. "
        "What a judge said that holds no verdict is counted as not readable."
    )
    return Table(name, caption, columns, rows, note)


def _verdict_cells(one: Mapping[str, Any]) -> list[Any]:
    three = _three(one)
    n = int(one["n"])
    tail = [interval(one.get("net")), one.get("verdict"), one.get("p"), one.get("p_holm"), one.get("invalid")]
    return [n, three, *(three or (None, None, None)), *tail]


def _three(one: Mapping[str, Any]) -> tuple[Interval, Interval, Interval] | None:
    found = tuple(interval(one.get(name)) for name in ("win", "tie", "loss"))
    win, tie, loss = found
    return (win, tie, loss) if win and tie and loss else None


def _order(name: str, pair: str, dimensions: Dimensions) -> Table:
    fields = {
        "flip_rate": ("verdict flips with the order", "n pairs of verdicts"),
        "first_shown": ("for the one shown first", "n decided verdicts"),
        "length_controlled": ("win rate at equal length, ties half", "n items"),
        "longer_wins": ("the longer one wins", "n decided items"),
    }
    columns = [Column("on", "head")]
    columns += [column for title, n in fields.values() for column in (Column(title, "share"), Column(n, "count"))]
    columns.append(Column("items without a whole verdict", "count"))
    rows = []
    for key, one in dimensions.items():
        values = [interval(one.get(field)) for field in fields]
        cells = [cell for value in values for cell in (value, value.n if value else None)]
        rows.append([words.dimension(key), *cells, one.get("incomplete")])
    note = "A judge without a bias to a place gives half of its decided verdicts to the answer shown first."
    return Table(name, f"{pair}: what else decides 位置与长度的影响", columns, rows, note)


def _strata(id: str, pair: str, field: str, groups: Mapping[str, Dimensions]) -> Table:
    """Weakest first: the stratum whose smallest net of wins over losses is the lowest."""

    def lowest(value: str) -> tuple[float, str]:
        return min(
            (float(one["win"]["mean"]) - float(one["loss"]["mean"]) for one in groups[value].values()), default=0.0
        ), value

    columns = [
        Column(words.field(field), "head"),
        Column("on"),
        Column("n", "count"),
        Column("win · tie · loss", "stack"),
        *(Column(title, "share") for title in ("win", "tie", "loss")),
    ]
    rows = []
    for value in sorted(groups, key=lowest):
        for place, (dimension, one) in enumerate(groups[value].items()):
            three = _three(one)
            shown = words.label(value)[0] if not place else ""
            rows.append([shown, words.dimension(dimension), int(one["n"]), three, *(three or (None, None, None))])
    return Table(f"{id}-{field}", f"{pair} by {words.field(field)}, weakest first", columns, rows)


def _agreement(name: str, pair: str, found: Mapping[str, Any] | None) -> Table | None:
    rows = []
    for dimension, one in (found or {}).items():
        if one:
            values = [interval(one.get(key)) for key in _STATISTICS]
            rows.append([words.dimension(dimension), one.get("raters"), one.get("units"), *values])
    if not any(value for row in rows for value in row[3:]):
        return None
    columns = [Column("on", "head"), Column("raters", "count"), Column("items", "count")]
    columns += [Column(title, "share" if key == "percent" else "value") for key, title in _STATISTICS.items()]
    return Table(
        name, f"{pair}: agreement between raters 评分者间一致性", columns, rows, "1 is full agreement, 0 is chance."
    )


def _consistency(name: str, pair: str, found: Mapping[str, Dimensions] | None) -> Table | None:
    rows = [
        [judge, words.dimension(dimension), one, one]
        for judge, dimensions in (found or {}).items()
        for dimension, value in dimensions.items()
        if (one := interval(value))
    ]
    if not rows:
        return None
    columns = [Column("judge", "head"), Column("on"), Column("same verdict again", "share")]
    columns.append(Column("same verdict again ", "range", axis_of([row[3] for row in rows])))
    return Table(name, f"{pair}: agreement of a judge with itself 自身一致性", columns, rows)


def costs(run: RunFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(what for, counts) of every pair that language models compared."""
    for name in _names(run):
        found = run.json(name)
        with expected(run.folder / name):
            if found.get("costs"):
                yield f"judge 裁判: {found['models'][0]} / {found['models'][1]}", dict(found["costs"])
