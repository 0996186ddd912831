"""`pedgpt score`: the metrics of a predictions file, or several models compared on the same items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli.common import check_output, console, errors, warn
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.evaluation.scoring import ScoreReport


def score(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON lines with prediction and reference; several are compared.", show_default=False),
    ],
    profile: Annotated[
        str, typer.Option(help="paper (words cut as jieba does), char (characters), paper-corpus or char-corpus.")
    ] = "paper",
    by: Annotated[
        list[str] | None, typer.Option("--by", help="task, department or age_band; again for more. Default: all three.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="What is compared, again for more. Default: all metrics.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="A file with the ids that one predictions file must have.")
    ] = None,
    intersect: Annotated[bool, typer.Option("--intersect", help="Take the common items of different sets.")] = False,
    items: Annotated[Path | None, typer.Option("--items", help="Write the scores of every item to this file.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Also write all figures to this file.")] = None,
) -> None:
    """Score any predictions file: BLEU, GLEU, ROUGE, Distinct, each with n and a 95 % interval; compare several."""
    from pediatricsgpt.manifest import disk_errors, write_atomically

    for path in (items, out):
        if path is not None:
            check_output(path)
    found = _one(files[0], profile, by, metric, ids, intersect, items) if len(files) == 1 else None
    if found is None:
        found = _several(files, profile, by, metric, ids, intersect, items)
    if out is not None:
        with disk_errors(out):
            write_atomically(out, json.dumps(found, ensure_ascii=False, indent=1) + "\n")


def _one(
    file: Path,
    profile: str,
    by: list[str] | None,
    metric: list[str] | None,
    ids: Path | None,
    intersect: bool,
    items: Path | None,
) -> dict[str, Any]:
    from pediatricsgpt.evaluation.predictions import LABELS
    from pediatricsgpt.evaluation.scoring import render_groups, render_table, score_file, write_item_scores
    from pediatricsgpt.manifest import disk_errors

    if metric:
        raise UserError("--metric says what is compared: give a second file")
    if intersect and ids is None:
        raise UserError("--intersect takes what two sets have in common: give a second file or --ids")
    with _progress() as advance:
        found = score_file(file, profile, by or LABELS, advance, ids, intersect)
    console.print(render_table(found, by=None))
    for name in found.groups:
        console.print(render_groups(found, name))
    console.print(found.overall.signature, style="dim", highlight=False, markup=False, soft_wrap=True)
    for warning in [*found.warnings, *_absent(by, [found])]:
        warn(warning)
    if items is not None:
        with disk_errors(items):
            write_item_scores(items, found)
    return found.to_dict()


def _several(
    files: Sequence[Path],
    profile: str,
    by: list[str] | None,
    metric: list[str] | None,
    ids: Path | None,
    intersect: bool,
    items: Path | None,
) -> dict[str, Any]:
    from pediatricsgpt.evaluation.metrics import METRICS
    from pediatricsgpt.evaluation.paired import compare_files, render_comparisons
    from pediatricsgpt.evaluation.predictions import LABELS

    if ids is not None or items is not None:
        raise UserError("--ids and --items take one predictions file; score each file by itself for them")
    with _progress() as advance:
        found = compare_files(files, profile, metric or METRICS, by=by or LABELS, intersect=intersect, progress=advance)
    for table in render_comparisons(found):
        console.print(table)
    for name, report in found.reports.items():
        console.print(f"{name}: {report.path}", style="dim", highlight=False, markup=False, soft_wrap=True)
    signature = next(iter(found.reports.values())).overall.signature
    console.print(signature, style="dim", highlight=False, markup=False, soft_wrap=True)
    for warning in [*found.warnings, *_absent(by, list(found.reports.values()))]:
        warn(warning)
    return found.to_dict()


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Loads the metrics, then shows how far the scoring is."""
    from pediatricsgpt.progress import progress_of

    with errors.status("loading the metrics; the first time on a machine compiles them, some ten seconds"):
        from pediatricsgpt.evaluation.metrics import score_pair

        score_pair("热", "热", "char")
    with progress_of(errors, "scoring") as advance:
        yield advance


def _absent(by: list[str] | None, reports: Sequence[ScoreReport]) -> list[str]:
    """What to say of fields that were asked for and that no item has."""
    return [f"no item has the field '{name}'" for name in by or () if not any(name in one.groups for one in reports)]
