"""What a run would do, before it does it: status, rows, tokens, memory and time of each node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pediatricsgpt import manifest
from pediatricsgpt.graph import PHASES
from pediatricsgpt.training.estimate import GIB, Shape, shape_of_folder, shape_of_init, steps, training_memory
from pediatricsgpt.training.settings import PhaseSettings

if TYPE_CHECKING:
    from rich.console import Group

    from pediatricsgpt.run import Run, State

_STATUS = {"done": "up to date", "run": "to do", "resume": "to go on", "waits": "later"}


def render(work: Run) -> Group:
    """A table of the nodes and a note on how the figures were made."""
    from rich.console import Group
    from rich.table import Table

    shape = _shape(work)
    table = Table(title=f"{work.recipe.name}: {work.folder}", title_justify="left")
    for name in ("step", "status", "rows", "tokens", "steps", "memory", "time"):
        left = name in ("step", "status")
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    for state in work.states(work.nodes):
        table.add_row(state.node.name, _STATUS[state.status], *_figures(work, state, shape))
    size = f"{shape.parameters:,} parameters" if shape else "a base whose shape is not known yet"
    note = (
        f"{size}; cost: 0 (no teacher is asked). Rows, tokens and time are those of the last time a step ran; "
        "memory is estimated for one device in float32 without sharding; steps without packing"
    )
    return Group(table, note)


def _figures(work: Run, state: State, shape: Shape | None) -> tuple[str, ...]:
    name = state.node.name
    before = state.manifest or manifest.read_manifest(work.path(name))
    counts: dict[str, Any] = before.counts if before else {}
    rows = next((counts[key] for key in ("rows", "kept", "items", "medical_pairs") if key in counts), None)
    memory = planned = ""
    if name in PHASES:
        settings: PhaseSettings = getattr(work.recipe, name)
        memory = f"{training_memory(shape, settings) / GIB:.1f} GiB" if shape else ""
        available = rows if rows is not None else _set_rows(work, name)
        planned = f"{counts['steps']:,}" if "steps" in counts else ""
        planned = planned or (f"<= {steps(available, settings):,}" if available is not None else "")
    tokens = f"{counts['tokens']:,}" if "tokens" in counts else ""
    time = f"{before.seconds:,.0f} s" if before else ""
    return ("" if rows is None else f"{rows:,}", tokens, planned, memory, time)


def _set_rows(work: Run, phase: str) -> int | None:
    """Rows of a phase's set, if it is built."""
    name = {"dfpo": "corpus/preferences"}.get(phase, f"corpus/{phase}")
    found = manifest.read_manifest(work.path(name))
    if found is None:
        return None
    counts = found.counts
    return int(counts["rows"] if "rows" in counts else counts["medical_pairs"] + counts["general_pairs"])


def _shape(work: Run) -> Shape | None:
    model = work.recipe.model
    if model.init is None:
        return shape_of_folder(work.recipe_folder / str(model.base))
    return shape_of_init(model.init, _vocabulary(work))


def _vocabulary(work: Run) -> int:
    """Entries of the tokenizer of a new model, read without transformers."""
    import json

    path = work.recipe_folder / str(work.recipe.model.tokenizer) / "tokenizer.json"
    try:
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        return len({*tokenizer["model"]["vocab"], *(token["content"] for token in tokenizer["added_tokens"])})
    except (OSError, ValueError, KeyError):
        return 0
