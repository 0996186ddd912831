"""What the commands share: where they print, the options that several have, and how a recipe becomes a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pediatricsgpt import processes
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.recipe import Comparison, Recipe
    from pediatricsgpt.run import Run

console = Console()
errors = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: --set sft.max_length=512.")]
Name = Annotated[str | None, typer.Option("--name", help="Another name for the run: results go to RUNS/NAME.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, for example runs/demo.", show_default=False)]
Model = Annotated[
    str, typer.Argument(help="A run's phase folder (runs/demo/sft), a model folder or a hub id.", show_default=False)
]
AnyModel = Annotated[
    str | None,
    typer.Argument(help="A run's phase folder (runs/demo/sft), a model folder or a hub id.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def say(line: str) -> None:
    """A line of the result, as it is: names of files and models may hold brackets."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def say_aside(line: str) -> None:
    """A line about the work, which scripts that read the result do not see."""
    errors.print(line, markup=False, highlight=False, soft_wrap=True)


def warn(line: str) -> None:
    """What the user should know of a result that stands."""
    errors.print("[yellow]warning:[/yellow]", end=" ")
    say_aside(line)


def interval(found: Mapping[str, Any] | None, digits: int, absent: str = "-", with_n: bool = False) -> str:
    """An interval of a result as text: its mean, its ends, and perhaps how many it is of."""
    if found is None:
        return absent
    mean, low, high = (f"{found[end]:.{digits}f}" for end in ("mean", "low", "high"))
    return f"{mean} ({low} to {high}{', n = ' + str(found['n']) if with_n else ''})"


def load(recipe_file: Path, changes: list[str] | None, name: str | None) -> Recipe | Comparison:
    from pediatricsgpt.recipe import load_any

    return load_any(recipe_file, [*(changes or []), *([f"name={name}"] if name else [])])


def open_run(recipe_file: Path, changes: list[str] | None, name: str | None, runs: Path) -> Run:
    from pediatricsgpt import graph
    from pediatricsgpt.run import Run

    recipe = load(recipe_file, changes, name)
    nodes = graph.build(recipe, recipe_file.parent)
    return Run(recipe, recipe_file.parent, runs / recipe.name, nodes, console)


def follow(recipe_file: Path, changes: list[str] | None, name: str | None, runs: Path) -> bool:
    """Take part in the training of the first process of a launch, to its end; False in that process itself."""
    if not processes.rank():
        return False
    console.quiet = True  # the first process speaks
    team = processes.team()
    for task in team.tasks() if team else ():
        open_run(recipe_file, changes, name, runs).join(task)
    return True


def execute(work: Run, names: list[str]) -> list[str]:
    from pediatricsgpt.recipe import Recipe, check_phases
    from pediatricsgpt.run import opened

    if isinstance(work.recipe, Recipe):
        check_phases(work.recipe, names)
    with opened(work.folder):
        work.write_recipe()
        worked = work.execute([node for node in work.nodes if node.name in names])
    if not worked:
        console.print(f"nothing to do: {work.folder} is up to date", highlight=False, soft_wrap=True)
    return worked


def check_output(path: Path) -> None:
    """Find out before the work whether its result can be written."""
    if path.is_dir():
        raise UserError("this is a folder; name a file", path)
    probe = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}; name a file in a folder that can", path) from error


def make_folder(path: Path) -> None:
    """Make the folder of a result, and find out before the work whether it takes a byte.

    Raises:
        UserError: there is a file of this name, the folder cannot be made, or the disk refuses.
    """
    from pediatricsgpt.manifest import disk_errors

    if path.exists() and not path.is_dir():
        raise UserError("this is a file; name a folder with --out", path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror}; name a folder that can with --out", path) from error
    probe = path / f".{os.getpid()}.partial"
    with disk_errors(path):
        try:
            probe.write_text("1", encoding="utf-8")
        finally:
            probe.unlink(missing_ok=True)


def quiet() -> None:
    """Keep the model libraries from talking between our lines, and from telling anybody about this machine."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
