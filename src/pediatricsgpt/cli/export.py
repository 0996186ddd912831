"""Handing a model on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pediatricsgpt.cli.common import Json, Model, console, errors, quiet


def export(
    model: Model,
    out: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DIR", show_default=False)],
    to: Annotated[
        str, typer.Option("--to", help="hf (one whole model) or adapter (base and adapter side by side).")
    ] = "hf",
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; the stored type if not given.")
    ] = None,
    merge_universal: Annotated[
        bool, typer.Option("--merge-universal", help="With adapter: merge the universal expert into the base.")
    ] = False,
    fold_head: Annotated[
        bool, typer.Option("--fold-head", help="Baichuan2: store the head normalised, as GGUF needs it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model for others: weights, tokenizer, model card, lineage. Adapters are merged where that is exact."""
    import contextlib
    import dataclasses
    import json
    import sys

    from pediatricsgpt.manifest import disk_errors

    quiet()
    # Libraries that greet on the standard output (DeepSpeed) must not stand in what a script reads.
    with contextlib.redirect_stdout(sys.stderr), disk_errors(out):
        from pediatricsgpt.models.export import ExportSettings
        from pediatricsgpt.models.export import export as write

        done = write(model, out, ExportSettings(to, dtype, merge_universal, fold_head, overwrite))
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(done), "folder": str(done.folder)}, ensure_ascii=False, indent=1))
        return
    for note in done.notes:
        errors.print(f"[yellow]note:[/yellow] {note}", highlight=False, soft_wrap=True)
    console.print(
        f"{done.folder}: {done.parameters:,} parameters in {done.dtype}; licence of the base: {done.licence}",
        highlight=False,
        soft_wrap=True,
    )
