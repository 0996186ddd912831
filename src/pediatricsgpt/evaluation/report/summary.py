"""What benchmarks, judges, rubrics and consultations found, in a few lines of Chinese for the head of the report."""

from __future__ import annotations

from collections.abc import Sequence

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.benchmarks import Benchmark
from pediatricsgpt.evaluation.report.consultations import Consultations
from pediatricsgpt.evaluation.report.judge import Pair
from pediatricsgpt.evaluation.report.rubrics import Rubrics
from pediatricsgpt.evaluation.report.tables import Table
from pediatricsgpt.evaluation.statistics import Difference, Interval

_VERDICTS = {"better": "优于", "worse": "差于", "no verdict": "与其相比无定论："}
_WINS = {"better": "占优", "worse": "落后", "no verdict": "无定论"}


def chinese(
    benchmarks: Sequence[Benchmark],
    judged: Sequence[Pair],
    panel: Pair | None,
    rubrics: Rubrics | None,
    consultations: Consultations | None,
) -> list[tuple[str, str]]:
    """(subject, text) of what was measured; nothing of what was not."""
    found = [one for benchmark in benchmarks for one in _benchmark(benchmark)]
    found += [("模型裁判", _pair(pair)) for pair in judged]
    found += [("医生评审", _pair(panel))] if panel else []
    if rubrics:
        found.append(("评分标准", _measures(rubrics.scores, {"score": "得分", "share with a veto": "一票否决"})))
    if consultations:
        titles = {
            "facts elicited 问出的病情要点": "问出要点",
            "danger recognised 识别危险": "识别危险",
            "diagnosis hit 诊断命中": "诊断命中",
        }
        found.append(("模拟问诊", _measures(consultations.measures, titles)))
    return [one for one in found if one[1]]


def _benchmark(one: Benchmark) -> list[tuple[str, str]]:
    name = words.benchmark(one.name)
    found = []
    if one.scores and (model := _shown_model(one.scores)):
        text = f"{_name(model)} ROUGE-L {_interval(one.scores.value(model, 'ROUGE-L'))}"
        others = [_against(row) for row in one.changes.rows if row[1] == "ROUGE-L"] if one.changes else []
        found.append((name, f"{'；'.join([text, *others])}。{_leaked(one.scores, model)}"))
    for table, titles in (
        (one.choices, {"accuracy by likelihood": "按似然正确率", "accuracy by letter": "按字母正确率"}),
        (one.selections, {"accuracy": "答案选择正确率"}),
    ):
        if table and (text := _measures(table, titles)):
            found.append((name, text))
    return found


def _against(row: Sequence[object]) -> str:
    """One paired difference: its table names the pair, then metric, difference and verdict."""
    pair, _, difference, verdict = row[:4]
    assert isinstance(difference, Difference)
    first = str(pair).split(" → ")[0]
    other = dict(words.MODEL_NAMES.values()).get(first, first)
    ends = f"[{words.signed(difference.low, 1)}, {words.signed(difference.high, 1)}]"
    return f"{_VERDICTS[str(verdict)]} {other}（{words.signed(difference.mean)} {ends}，n = {difference.n:,}）"


def _leaked(table: Table, model: str) -> str:
    items = table.value(model, "items in training")
    return (
        f"其中 {items:,} 题在训练集中出现过，剔除后的得分见公开基准一节。" if isinstance(items, int) and items else ""
    )


def _pair(pair: Pair) -> str:
    if pair.refused:
        return f"{_name(pair.first)} 对 {_name(pair.second)}：裁判未通过验证，不给出结论，数字见相应一节。"
    parts = [
        f"{str(row[0]).split(' ')[-1]}{_WINS.get(str(pair.verdicts.value(row[0], 'verdict')), '')}"
        for row in pair.verdicts.rows
    ]
    return f"{_name(pair.first)} 对 {_name(pair.second)}：{'、'.join(parts)}（n = {pair.items:,} 题）。"


def _measures(table: Table, titles: dict[str, str]) -> str:
    """Some values of our last model in a table of models."""
    model = _shown_model(table)
    if not model:
        return ""
    values = {said: table.value(model, title) for title, said in titles.items()}
    parts = [f"{said} {_interval(value, 100.0)}" for said, value in values.items() if isinstance(value, Interval)]
    n = table.value(model, "n")
    return f"{_name(model)}：{'，'.join(parts)}（n = {n:,}）。" if parts and isinstance(n, int) else ""


def _shown_model(table: Table) -> str:
    names = [table.head(row) for row in table.rows]
    return models.ours(names) or (names[0] if names else "")


def _interval(value: object, times: float = 1.0) -> str:
    if not isinstance(value, Interval):
        return "–"
    unit = "%" if times != 1.0 else ""
    return f"{value.mean * times:.1f}{unit} [{value.low * times:.1f}, {value.high * times:.1f}]"


def _name(model: str) -> str:
    return words.MODEL_NAMES.get(model, (model, model))[1]
