"""Models' answers side by side: a page with all of them, or some in the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pediatricsgpt.cli.common import Json, check_output, console
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.evaluation.compare.questions import Question, Questions

_MOST = 20  # in the terminal, unless asked for by --limit


def compare(
    sources: Annotated[
        list[Path], typer.Argument(help="A run's folder, or predictions files, one a model.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("compare.html"),
    ids: Annotated[list[str] | None, typer.Option("--id", help="Print this question instead; may be repeated.")] = None,
    search: Annotated[str, typer.Option("--search", help="Print questions whose texts hold this instead.")] = "",
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Only this benchmark of a run; held-out: its own.")
    ] = "",
    task: Annotated[str, typer.Option("--task", help="Only this task.")] = "",
    department: Annotated[str, typer.Option("--department", help="Only this department.")] = "",
    against: Annotated[
        str, typer.Option("--against", help="Highlight what this lacks: reference, or a model's name.")
    ] = "reference",
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Where files hold different questions: those that all hold.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Questions to print at most.")] = _MOST,
    as_json: Json = False,
) -> None:
    """Set models' answers to the same questions side by side, differences highlighted."""
    from pediatricsgpt.evaluation.compare.terminal import REFERENCE, as_dict, selected

    questions = _read(sources, intersect)
    if against not in (REFERENCE, *questions.models):
        raise UserError(f"--against {against}: no such model; there are {', '.join([REFERENCE, *questions.models])}")
    found = selected(questions, ids or (), search, benchmark, task, department)
    _check(questions, found, ids or [], benchmark)
    if as_json:
        print_json = json.dumps([as_dict(item, against) for item in found], ensure_ascii=False, indent=1)
        typer.echo(print_json)
    elif ids or search:
        _print(found, limit, against)
    else:
        _write(questions, found, out)


def _read(sources: list[Path], intersect: bool) -> Questions:
    from pediatricsgpt.evaluation.compare.questions import questions_of_files, questions_of_run
    from pediatricsgpt.evaluation.report.files import RunFiles
    from pediatricsgpt.evaluation.report.models import order

    folders = [source for source in sources if source.is_dir()]
    if not folders:
        return questions_of_files(sources, intersect)
    if len(sources) > 1:
        raise UserError("give one run's folder, or predictions files alone", folders[0])
    questions = questions_of_run(folders[0], order(RunFiles(folders[0])))
    if not questions.items:
        raise UserError("no answers here: give a run's folder with evaluation/MODEL/predictions.jsonl", folders[0])
    return questions


def _check(questions: Questions, found: list[Question], ids: list[str], benchmark: str) -> None:
    """Say what is not there rather than show less than was asked for."""
    benchmarks = sorted({item.benchmark for item in questions.items if item.benchmark})
    if benchmark and benchmark not in benchmarks:
        raise UserError(f"--benchmark {benchmark}: not among {', '.join(benchmarks) or 'these files'}")
    known = {item.id for item in questions.items}
    if unknown := [name for name in ids if name not in known]:
        raise UserError(f"--id {unknown[0]}: none of the {len(known)} questions has it")
    if not found:
        raise UserError(f"none of the {len(questions.items)} questions fits")


def _print(found: list[Question], limit: int, against: str) -> None:
    from pediatricsgpt.evaluation.compare.terminal import render

    for item in found[:limit]:
        for part in render(item, console.width, against, brackets=not console.is_terminal):
            console.print(part)
    if len(found) > limit:
        console.print(f"{limit} of {len(found)} questions; --limit prints more", highlight=False)


def _write(questions: Questions, found: list[Question], out: Path) -> None:
    import dataclasses

    from pediatricsgpt.evaluation.report.side_by_side import write_side_by_side
    from pediatricsgpt.manifest import disk_errors

    check_output(out)
    with disk_errors(out):
        write_side_by_side(dataclasses.replace(questions, items=found), out)
    left = f" ({questions.left_out} that not all files hold are left out)" if questions.left_out else ""
    console.print(f"{len(found)} questions{left}: {out}", highlight=False, soft_wrap=True)
