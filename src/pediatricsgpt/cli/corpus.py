"""The corpus room: build it, look into it, hand it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pediatricsgpt.cli.common import Json, Name, RecipeFile, RunFolder, Runs, Set, console, execute, open_run

app = typer.Typer(help="Build PedCorpus and look into it.", no_args_is_help=True)


@app.command("build")
def corpus_build(recipe: RecipeFile, changes: Set = None, name: Name = None, runs: Runs = Path("runs")) -> None:
    """Build the training sets and the held-out set from the sources."""
    work = open_run(recipe, changes, name, runs)
    needed = {node.name for node in work.select(["corpus/card"])}
    worked = execute(work, sorted(needed))
    if worked:
        console.print("the preference set needs this run's own SFT model: it is built by `run` or `train dfpo`")
    corpus_stats(work.folder)


@app.command("stats")
def corpus_stats(run_folder: RunFolder, as_json: Json = False) -> None:
    """Show what a built corpus holds and what was dropped."""
    from pediatricsgpt.corpus.look import statistics, statistics_tables

    found = statistics(run_folder)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        for table in statistics_tables(found):
            console.print(table)


@app.command("show")
def corpus_show(
    run_folder: RunFolder,
    row_id: Annotated[str | None, typer.Option("--id", help="One row, back to its file and line or page.")] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="What was dropped, with reasons.")] = False,
    step: Annotated[str | None, typer.Option("--step", help="With --rejects: only this step, its items whole.")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="With --rejects: only reasons with these words.")
    ] = None,
    which: Annotated[str, typer.Option("--set", help="cpt, sft, experts, preferences or held_out.")] = "experts",
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 5,
) -> None:
    """Show rows of a corpus, one row with its whole provenance, or what was rejected and why."""
    from pediatricsgpt.corpus import look

    if row_id:
        lines = look.lineage(run_folder, row_id)
    elif rejects or step or reason:
        lines = look.rejects(run_folder, count, step, reason)
    else:
        lines = look.rows(run_folder, which, count)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("export")
def corpus_export(
    run_folder: RunFolder,
    to: Annotated[str, typer.Option("--to", help="trl, llamafactory or jsonl (all columns).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", show_default=False)],
) -> None:
    """Write the sets as JSON lines for another trainer, with their ids and licences."""
    from pediatricsgpt.corpus.export import export
    from pediatricsgpt.manifest import disk_errors

    with disk_errors(out):
        counts = export(run_folder, to, out, lambda line: console.print(line, highlight=False, soft_wrap=True))
    for name, rows in counts.items():
        console.print(f"{out / name}.jsonl: {rows:,} rows", highlight=False, soft_wrap=True)
