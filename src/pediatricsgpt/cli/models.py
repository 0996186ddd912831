"""Talk to a model that is there."""

from __future__ import annotations

from typing import Annotated

import typer

from pediatricsgpt.cli.common import Model, console, errors, quiet


def chat(
    model: Model,
    ask: Annotated[
        str | None, typer.Option("--ask", help="One question; the answer is printed and that is all.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest word.")] = 0.0,
) -> None:
    """Talk to a model in the terminal."""
    quiet()
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load
    from pediatricsgpt.serving import terminal

    engine = Engine(load(model), Sampling(max_new_tokens=max_new_tokens, temperature=temperature))
    errors.print(terminal.NOTICE, style="yellow", highlight=False)
    if ask is None:
        console.print(terminal.HELP, style="dim")
    lines = terminal.typed(console) if ask is None else iter([ask])
    terminal.chat(engine, lines, lambda text: console.print(text, end="", markup=False, highlight=False))
