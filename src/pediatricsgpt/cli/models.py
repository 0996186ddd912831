"""Models that are there: answer a file, score answers, talk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pediatricsgpt.cli.common import Model, check_output, console, errors


def generate(
    model: Model,
    data: Annotated[Path, typer.Option("--data", help="JSON lines with messages or question.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The predictions file to write.", show_default=False)],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts that are generated together.")] = 16,
) -> None:
    """Answer every item of a file. A killed run goes on where it was."""
    from pediatricsgpt.evaluation.benchmarks import read_items
    from pediatricsgpt.manifest import disk_errors

    items = read_items(data)
    check_output(out)
    _quiet()
    from pediatricsgpt.evaluation.evaluate import predict
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load
    from pediatricsgpt.progress import progress

    engine = Engine(load(model), Sampling(max_new_tokens=max_new_tokens), batch_size)
    with disk_errors(out), progress(console, "answering", len(items)) as advance:
        predict(engine, items, out, model, advance)
    console.print(f"{len(items)} answers: {out}", highlight=False, soft_wrap=True)


def _quiet() -> None:
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def score(
    file: Annotated[Path, typer.Argument(help="JSON lines with prediction and reference.", show_default=False)],
    profile: Annotated[str, typer.Option(help="paper (words cut by jieba) or char (characters).")] = "paper",
    out: Annotated[Path | None, typer.Option("--json", help="Also write all figures to this file.")] = None,
) -> None:
    """Score any predictions file: BLEU, GLEU, ROUGE, Distinct, each with n and a 95 % interval."""
    from pediatricsgpt.evaluation.scoring import render_table, score_file
    from pediatricsgpt.manifest import disk_errors, write_atomically
    from pediatricsgpt.progress import progress_of

    if out is not None:
        check_output(out)
    with progress_of(errors, "scoring") as advance:
        found = score_file(file, profile, progress=advance)
    console.print(render_table(found))
    for warning in found.warnings:
        errors.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
    if out is not None:
        with disk_errors(out):
            write_atomically(out, json.dumps(found.to_dict(), ensure_ascii=False, indent=1) + "\n")


def chat(
    model: Model,
    ask: Annotated[
        str | None, typer.Option("--ask", help="One question; the answer is printed and that is all.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest word.")] = 0.0,
) -> None:
    """Talk to a model in the terminal."""
    _quiet()
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load
    from pediatricsgpt.serving import terminal

    engine = Engine(load(model), Sampling(max_new_tokens=max_new_tokens, temperature=temperature))
    errors.print(terminal.NOTICE, style="yellow", highlight=False)
    if ask is None:
        console.print(terminal.HELP, style="dim")
    lines = terminal.typed(console) if ask is None else iter([ask])
    terminal.chat(engine, lines, lambda text: console.print(text, end="", markup=False, highlight=False))
