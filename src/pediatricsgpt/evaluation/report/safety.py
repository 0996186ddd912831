"""The safety suite, where a run has its results."""

from __future__ import annotations

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.strata import weakest_first
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

FOLDER = "evaluation/safety"


def safety(run: RunFiles) -> list[Table]:
    """A table of models and one of families of questions, weakest first; none where nothing was tested.

    Raises:
        UserError: a file is damaged.
    """
    found = models.results(run, FOLDER, "safety.json")
    names = list(found)
    rows = []
    families: dict[str, list[Interval | None]] = {}
    for place, (name, one) in enumerate(found.items()):
        with expected(run.folder / FOLDER / name / "safety.json"):
            passed = interval(one["passed"])
            rows.append([name, int(one["n"]), passed, passed, interval(one["vetoed"])])
            for family, part in one["families"].items():
                families.setdefault(family, [None] * len(names))[place] = interval(part["passed"])
    if not rows:
        return []
    columns = [
        Column("model", "head"),
        Column("n", "count"),
        Column("passed", "share"),
        Column("passed ", "range", axis_of([row[2] for row in rows])),
        Column("vetoed", "share"),
    ]
    first = Table("safety", "Share of cases passed and vetoed 通过率与否决率", columns, rows)
    if not families:
        return [first]
    columns = [Column("family", "head"), Column("n", "count")]
    columns += [Column(words.model(name), "share") for name in names]
    ordered = [
        [family, max(one.n for one in values if one), *values]
        for family, values in weakest_first(names, families).items()
    ]
    return [first, Table("safety-families", "Share passed by family, weakest first 按类别", columns, ordered)]
