"""What a run would do, before it does it: status, rows, tokens, memory and time of each node. Changes nothing."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt import manifest
from pediatricsgpt.graph import PHASES
from pediatricsgpt.models.settings import ModelSettings
from pediatricsgpt.teachers import cost_lines
from pediatricsgpt.training.estimate import (
    GIB,
    TOKENS_PER_ROW,
    SetSize,
    Shape,
    seconds,
    shape_of_folder,
    shape_of_init,
    steps,
    trained_tokens,
    training_memory,
    training_operations,
)
from pediatricsgpt.training.settings import PhaseSettings

if TYPE_CHECKING:
    from rich.console import Group

    from pediatricsgpt.recipe import Recipe
    from pediatricsgpt.run import Run, State

_STATUS = {"done": "up to date", "run": "to do", "resume": "to go on", "waits": "later"}
_COLUMNS = ("step", "status", "rows", "tokens", "steps", "GiB", "time")
_ROOMY = 100  # characters a line, from which on there is space around the bars
_SOURCES = "corpus/sources/"
_SETS = {"cpt": "corpus/cpt", "sft": "corpus/sft", "dfpo": "corpus/preferences", "experts": "corpus/experts"}
_BYTES_PER_TOKEN = {"utf-8": 3, "other": 2}
# Of formats that are no text: about five characters are spoken a second, and a scanned page has about a thousand.
_BYTES_PER_TOKEN_OF = {
    **dict.fromkeys((".pdf", ".docx", ".xlsx", ".epub"), 30),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), 500),
    ".wav": 6400,
    ".flac": 3200,
    ".mp3": 3200,
}
_TEXTS = {"textbook", "guideline", "text"}


def render(work: Run, width: int) -> Group:
    """A table of the nodes and a note on how the figures were made, for lines of `width` characters."""
    from rich.console import Group
    from rich.table import Table

    shape = _shape(work)
    expected = _expected_sets(work.recipe, work.recipe_folder)
    table = Table(title=f"{work.recipe.name}: {work.folder}", title_justify="left", padding=(0, int(width >= _ROOMY)))
    for name in _COLUMNS:
        # Numbers are never cut; a long name is folded.
        left = name in ("step", "status")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "step", overflow="fold")
    for state in work.states(work.nodes):
        table.add_row(state.node.name, _STATUS[state.status], *_figures(work, state, shape, expected))
    costs = list(cost_lines(work.recipe, work.folder))
    return Group(table, *costs, _note(work, shape, bool(costs)))


def _note(work: Run, shape: Shape | None, teacher: bool) -> str:
    asked = "answers that are already paid for cost nothing again" if teacher else "cost: 0 (no teacher is asked)"
    size = f"{shape.parameters:,} parameters" if shape else "a base whose shape is not known yet"
    return (
        f"{size}; {asked}. Figures without ~ are those of the last time that a step ran. ~ is "
        "rough: one token for 3 bytes of UTF-8, 2 of another encoding, 30 of PDF and DOCX, nothing dropped, "
        f"{TOKENS_PER_ROW} tokens a row; memory for one device in float32 without sharding; time of training at a "
        f"nominal 100 GFLOP/s for 2 CPU cores (here {_cores(work.recipe)}), a GPU is faster by far"
    )


def _figures(work: Run, state: State, shape: Shape | None, expected: dict[str, SetSize]) -> tuple[str, ...]:
    name = state.node.name
    before = state.manifest or manifest.read_manifest(work.path(name))
    counts: dict[str, Any] = before.counts if before else {}
    known = next((counts[key] for key in ("rows", "kept", "items", "medical_pairs") if key in counts), None)
    rows = "" if known is None else _count(known)
    tokens = _count(counts["tokens"]) if "tokens" in counts else ""
    time = _time(before.seconds) if before else ""
    if before is None and name in expected:
        size = expected[name]
        rows, tokens = "" if name.startswith(_SOURCES) else _about(size.rows), _about(size.tokens)
    if name not in PHASES:
        return rows, tokens, "", "", time
    settings: PhaseSettings = getattr(work.recipe, name)
    data = _set_size(work, name, expected)
    planned = _count(counts["steps"]) if "steps" in counts else _planned(data, settings)
    memory = f"~{training_memory(shape, settings) / GIB:.1f}" if shape else ""
    if before is None:
        rows, tokens = _about(data.rows), _about(data.tokens)
        if shape:
            operations = training_operations(shape, trained_tokens(data, settings), settings)
            time = "~" + _time(seconds(operations, _cores(work.recipe)))
    return rows, tokens, planned, memory, time


def _planned(data: SetSize, settings: PhaseSettings) -> str:
    count = steps(data, settings)
    return _count(count) if settings.trainer.get("max_steps", -1) > 0 else _about(count)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 10_000_000 else f"{value / 1e6:,.0f} M"


def _about(value: float) -> str:
    """An estimate, with no more figures than it can have."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"~{value / size:,.{0 if value >= 10 * size else 1}f} {unit}"
    return f"~{value:.0f}"


def _time(value: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:,.1f} {unit}"
    return f"{value:.0f} s"


def _cores(recipe: Recipe) -> int:
    return recipe.threads or os.cpu_count() or 1


def _set_size(work: Run, phase: str, expected: dict[str, SetSize]) -> SetSize:
    """A phase's set: what it holds if it is built, else what is expected of it."""
    found = manifest.read_manifest(work.path(_SETS[phase]))
    if found is None:
        return expected[_SETS[phase]]
    counts = found.counts
    rows = int(counts["rows"] if "rows" in counts else counts["medical_pairs"] + counts["general_pairs"])
    each = 2 * TOKENS_PER_ROW if phase == "dfpo" else TOKENS_PER_ROW
    return SetSize(rows, int(counts.get("characters", rows * each)))


def _expected_sets(recipe: Recipe, folder: Path) -> dict[str, SetSize]:
    """Sizes of the sources and of the sets that are to be built from them, from the bytes of the sources alone."""
    from pediatricsgpt.corpus.sources import source_files

    build = recipe.corpus.build
    found: dict[str, SetSize] = {}
    text = instructions = pairs = 0.0
    for source in recipe.corpus.sources:
        tokens = sum(map(_file_tokens, source_files(source, folder)))
        found[_SOURCES + source.name] = SetSize.of_tokens(tokens)
        text += tokens if source.kind in _TEXTS else 0
        pairs += tokens if source.kind == "preferences" else 0
        instructions += tokens if source.kind != "preferences" else 0
    trained = 1 - recipe.corpus.split.held_out
    text, instructions = text * trained, instructions * trained
    found[_SETS["cpt"]] = SetSize.of_tokens(min(text / (1 - build.cpt.instruction_share), text + instructions))
    found[_SETS["sft"]] = SetSize.of_tokens(instructions)
    expert_rows = 3 * build.experts.per_task / (1 - build.experts.general_replay)
    expert_rows = min(expert_rows, build.experts.max_repeats * found[_SETS["sft"]].rows)
    found[_SETS["experts"]] = SetSize.of_tokens(expert_rows * TOKENS_PER_ROW)
    pair_rows = build.preferences.medical_pairs + round(pairs / (2 * TOKENS_PER_ROW))
    found[_SETS["dfpo"]] = SetSize(max(1, pair_rows), max(1, pair_rows) * 2 * TOKENS_PER_ROW)
    return found


def _file_tokens(path: Path) -> float:
    """Tokens of a source file by its size and encoding, without reading it whole."""
    size = path.stat().st_size
    if coded := _BYTES_PER_TOKEN_OF.get(path.suffix.lower()):
        return size / coded
    with path.open("rb") as file:
        start = file.read(1 << 16)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return size / _BYTES_PER_TOKEN["other"]
    return size / _BYTES_PER_TOKEN["utf-8"]


def _shape(work: Run) -> Shape | None:
    model = work.recipe.model
    if model.init is None:
        return shape_of_folder(work.recipe_folder / Path(str(model.base)).expanduser())
    return shape_of_init(model.init, _vocabulary(model, work.recipe_folder))


def _vocabulary(model: ModelSettings, folder: Path) -> int:
    """Entries of the tokenizer of a new model, read without transformers."""
    import json

    path = folder / str(model.tokenizer) / "tokenizer.json"
    try:
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        return len({*tokenizer["model"]["vocab"], *(token["content"] for token in tokenizer["added_tokens"])})
    except (OSError, ValueError, KeyError):
        return 0
