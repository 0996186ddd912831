"""The paper's own table (Yang et al., NeurIPS 2024, arXiv 2405.19266), for orientation; never as numbers of ours."""

from __future__ import annotations

from pediatricsgpt.evaluation.metrics import METRICS, monotonicity_warnings
from pediatricsgpt.evaluation.report.downloads import csv_address
from pediatricsgpt.evaluation.report.tables import Column, Table

_ROWS = """
medkqa   | Baichuan2-13B     | 46.96 22.85 22.54 29.02 25.62 22.63 19.31 27.97 21.45 42.53
medkqa   | PediatricsGPT-7B  | 58.08 31.78 31.11 59.41 56.88 57.47 55.34 54.41 24.33 47.41
medkqa   | PediatricsGPT-13B | 60.85 36.56 35.64 61.65 63.17 58.96 59.34 57.22 24.24 46.23
evidiag  | Baichuan2-13B     | 39.14 12.06 12.44 47.65 36.02 28.82 21.19 28.28 25.45 50.43
evidiag  | PediatricsGPT-7B  | 45.83 16.60 19.91 54.37 41.99 37.59 29.03 33.42 23.49 46.61
evidiag  | PediatricsGPT-13B | 47.32 17.63 21.87 58.21 45.72 39.74 31.25 37.15 23.34 46.34
trerecom | Baichuan2-13B     | 48.87 23.41 26.42 49.96 46.24 42.84 35.04 35.63 22.36 45.12
trerecom | PediatricsGPT-7B  | 56.92 29.13 31.26 61.36 55.34 46.44 40.61 44.65 26.06 52.77
trerecom | PediatricsGPT-13B | 62.83 39.32 40.82 63.56 56.68 50.80 44.31 54.65 31.94 57.56
"""

# Win/tie/loss of PediatricsGPT-13B in per cent, on MedKQ&A, EviDiag and TreRecom.
_VERDICTS = {
    "judge": """
ChatGPT       | 68/15/17 54/20/26 58/18/24
HuatuoGPT-II  | 76/13/11 66/15/19 66/13/21
""",
    "panel": """
ChatGPT       | 56/16/28 44/15/41 38/28/34
HuatuoGPT-II  | 71/20/9 58/23/19 55/22/23
""",
}
_TASKS = ("MedKQ&A", "EviDiag", "TreRecom")
_WHO = {"judge": "GPT-4 as judge", "panel": "doctors by majority"}
NOT_OURS = "published, not ours / 论文公布，非本项目结果"


def published_verdicts(who: str) -> Table:
    """What the paper printed of pairwise verdicts; n, intervals and the prompt were not published.

    Args:
        who: `judge` (GPT-4) or `panel` (doctors).
    """
    rows = []
    for line in _VERDICTS[who].strip().splitlines():
        other, values = (part.strip() for part in line.split("|"))
        for task, value in zip(_TASKS, values.split(), strict=True):
            rows.append([f"PediatricsGPT-13B against {other}", task, *(f"{one} %" for one in value.split("/"))])
    columns = [Column("pair", "head"), Column("task"), Column("win"), Column("tie"), Column("loss")]
    caption = f"{_WHO[who]}, win/tie/loss: {NOT_OURS}"
    note = "Yang et al., NeurIPS 2024, arXiv 2405.19266, as printed there; no n, no interval, on its own test set."
    return Table(f"published-{who}", caption, columns, rows, note)


def published() -> list[tuple[str, str, list[str]]]:
    """(task, model, values as printed, in the order of `METRICS`) of the paper's table."""
    parts = [[part.strip() for part in line.split("|")] for line in _ROWS.strip().splitlines()]
    return [(task, model, values.split()) for task, model, values in parts]


def published_data() -> str:
    """The paper's table as CSV."""
    return csv_address(["task", "model", *METRICS, "note"], [[t, m, *values, NOT_OURS] for t, m, values in published()])


def doubts() -> list[str]:
    """Rows whose printed numbers the released metric code cannot give: which BLEU is above which."""
    found = []
    for task, model, values in published():
        means = {name: float(value) for name, value in zip(METRICS, values, strict=True)}
        if warnings := monotonicity_warnings(means):
            above = "; ".join(warning.split(":")[0] for warning in warnings)
            found.append(f"{task}, {model}: {above}")
    return found
