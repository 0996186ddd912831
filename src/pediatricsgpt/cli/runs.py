"""Whole runs: do one, plan one, report one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pediatricsgpt.cli.common import Name, RecipeFile, RunFolder, Runs, Set, console, execute, follow, open_run
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.run import Run


def run(
    recipe: RecipeFile,
    start: Annotated[str | None, typer.Option("--from", help="Redo this stage and all that follows from it.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    changes: Set = None,
    name: Name = None,
    runs: Runs = Path("runs"),
) -> None:
    """Run a whole recipe: corpus, four phases, evaluation, report. What is up to date is skipped."""
    from pediatricsgpt.recipe import check_paths

    if follow(recipe, changes, name, runs):
        return
    work = open_run(recipe, changes, name, runs)
    if start:
        work.force(start)
    nodes = work.select([until]) if until else work.nodes
    if not until:
        check_paths(work.recipe, work.recipe_folder)  # rather now than after an hour of what comes before
    execute(work, [node.name for node in nodes])
    if not until:
        _finish(work)


def _finish(work: Run) -> None:
    from pediatricsgpt.evaluation.compare import answers_to_one_question
    from pediatricsgpt.evaluation.report import write_report
    from pediatricsgpt.manifest import disk_errors

    with disk_errors(work.folder):
        path = write_report(work.folder)
    for title, text in answers_to_one_question(work.folder):
        console.print(f"[bold]{title}[/bold]  ", end="")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


def plan(
    recipe: RecipeFile,
    changes: Set = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    gpu: Annotated[
        bool | None,
        typer.Option(
            "--gpu/--cpu", help="Memory and precision as on a GPU, or as on a CPU.", show_default="this machine"
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="GPUs (or processes) that train together.")] = 1,
) -> None:
    """Show what would run, with rows, tokens, memory and time, before anything starts."""
    from pediatricsgpt.plan import Device, gpu_here, render
    from pediatricsgpt.recipe import check_paths

    work = open_run(recipe, changes, name, runs)
    check_paths(work.recipe, work.recipe_folder)
    device = Device(gpu_here() if gpu is None else gpu, processes)
    with console.status("planning"):
        shown = render(work, console.width, device)
    console.print(shown)


def report(run_folder: RunFolder) -> None:
    """Write a run's report again, from its files."""
    from pediatricsgpt.evaluation.report import write_report
    from pediatricsgpt.manifest import disk_errors

    _check_run(run_folder)
    with disk_errors(run_folder):
        console.print(f"report: {write_report(run_folder)}", highlight=False, soft_wrap=True)


def _check_run(folder: Path) -> None:
    if not (folder / "recipe.yaml").is_file():
        raise UserError("no run here (no recipe.yaml); give a folder such as runs/demo", folder)
