"""Recipes, and what this machine can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pediatricsgpt.cli.common import Json, RecipeFile, Set, console, load
from pediatricsgpt.errors import UserError

app = typer.Typer(help="List, show and check recipes.", no_args_is_help=True)


@app.command("list")
def recipe_list(folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("recipes")) -> None:
    """List the recipes of a folder with their first line of comment."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError("no recipes (*.yaml) here", folder)
    for file in files:
        first = file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
        console.print(f"{file}  {first.lstrip('# ') if first.startswith('#') else ''}", highlight=False, soft_wrap=True)


@app.command("show")
def recipe_show(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe; none: every setting there is, explained.")] = None,
    changes: Set = None,
) -> None:
    """Show a recipe with all defaults filled in, or every setting with its meaning."""
    from pediatricsgpt.recipe import as_yaml, documentation

    if recipe is None:
        typer.echo("\n".join(documentation()))
    else:
        typer.echo(as_yaml(load(recipe, changes, None)))


@app.command("check")
def recipe_check(recipe: RecipeFile, changes: Set = None) -> None:
    """Check a recipe and that every file that it names is there, without running anything."""
    from pediatricsgpt.evaluation.benchmarks import load_benchmark
    from pediatricsgpt.recipe import Recipe, check_paths

    checked = load(recipe, changes, None)
    files = check_paths(checked, recipe.parent)
    for benchmark in checked.evaluation.files_of_its_own:  # one of which nothing is left is told now
        load_benchmark(benchmark, recipe.parent, checked.evaluation.max_items)
    if isinstance(checked, Recipe):
        found = f"{len(checked.corpus.sources)} sources, {files} files"
    else:
        found = f"{len(checked.evaluation.models)} models on {files} benchmark{'s' if files > 1 else ''}"
    console.print(f"{recipe}: good; {found}", highlight=False, soft_wrap=True)


def env(as_json: Json = False) -> None:
    """Show what this machine can do: versions, processors, memory, extras."""
    from pediatricsgpt.environment import describe

    facts = describe(Path())
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    for name, value in facts.items():
        shown = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        console.print(f"[bold]{name.replace('_', ' ')}[/bold]: {shown}", highlight=False, soft_wrap=True)
