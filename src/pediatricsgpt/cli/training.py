"""The four phases one by one, and what exactly they train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pediatricsgpt.cli.common import Name, RecipeFile, Runs, Set, console, execute, follow, open_run
from pediatricsgpt.errors import UserError

app = typer.Typer(help="Train one phase (and what it needs, where that is not up to date).", no_args_is_help=True)


def _train_command(phase: str, text: str) -> Callable[..., None]:
    def command(recipe: RecipeFile, changes: Set = None, name: Name = None, runs: Runs = Path("runs")) -> None:
        if follow(recipe, changes, name, runs):
            return
        work = open_run(recipe, changes, name, runs)
        execute(work, [node.name for node in work.select([phase])])
        console.print(f"model: {work.path(phase)}", highlight=False, soft_wrap=True)

    command.__doc__ = text
    return command


for _phase, _text in {
    "cpt": "Phase 1: continued pre-training on plain text and instructions as completions.",
    "sft": "Phase 2: full-parameter supervised fine-tuning.",
    "dfpo": "Phase 3: direct following preference optimisation.",
    "experts": "Phase 4: mixture of universal-specific experts on the three pediatric tasks.",
}.items():
    app.command(_phase)(_train_command(_phase, _text))


def preview(
    recipe: RecipeFile,
    phase: Annotated[str, typer.Argument(help="cpt, sft, dfpo or experts.", show_default=False)],
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 2,
    changes: Set = None,
    name: Name = None,
    runs: Runs = Path("runs"),
) -> None:
    """Show the exact tokens of some training samples; those that carry loss are green (bracketed off a terminal)."""
    from pediatricsgpt import graph
    from pediatricsgpt.models.load import tokenizer_of
    from pediatricsgpt.recipe import whole
    from pediatricsgpt.training.preview import render, samples
    from pediatricsgpt.training_sets import ROWS

    if phase not in graph.PHASES:
        raise UserError(f"no phase '{phase}'; there are {', '.join(graph.PHASES)}")
    work = open_run(recipe, changes, name, runs)
    data = work.path({"dfpo": "corpus/preferences"}.get(phase, f"corpus/{phase}")) / ROWS
    if not data.is_file():
        command = (
            f"pedgpt run {recipe} --until corpus/preferences" if phase == "dfpo" else f"pedgpt corpus build {recipe}"
        )
        raise UserError(f"this set is not built yet; run: {command}", data)
    settings = getattr(work.recipe, phase).resolved(recipe.parent)
    tokenizer = tokenizer_of(whole(work.recipe, recipe).model, recipe.parent)
    for sample in samples(phase, data, tokenizer, count, settings):
        console.rule(sample.heading)
        console.print(render(sample, brackets=not console.is_terminal))
