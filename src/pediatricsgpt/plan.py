"""What a run would do, before it does it: status, rows, tokens, memory and time of each node. Changes nothing."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt import evaluation_graph, manifest
from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.graph import PHASES
from pediatricsgpt.recipe import AnyRecipe, Recipe, whole
from pediatricsgpt.teachers import cost_lines
from pediatricsgpt.training.settings import DfpoSettings, PhaseSettings
from pediatricsgpt.training_sets import ROWS

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from pediatricsgpt.run import Run, State
    from pediatricsgpt.training.estimate import SetSize, Work
    from pediatricsgpt.training.memory import Needs

_STATUS = {"done": "up to date", "run": "to do", "resume": "to go on", "waits": "later"}
_COLUMNS = ("step", "status", "rows", "tokens", "steps", "GiB", "time")
_MEMORY = ("phase", "parameters", "trained", "weights", "gradients", "optimiser", "activations", "at most")
GIB = 1 << 30
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


@dataclass(frozen=True, slots=True)
class Device:
    """What the training is planned for."""

    gpu: bool
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """What a phase will do and need."""

    work: Work
    needs: Needs
    steps: int
    trained_tokens: int


@dataclass(slots=True)
class Phases:
    """The four phases, or why they are not known."""

    known: dict[str, Phase] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def render(work: Run, width: int, device: Device) -> Group:
    """A table of the nodes, one of the phases' memory, and a note on how the figures were made.

    Args:
        work: the run.
        width: characters of a line.
        device: what the training is planned for.
    """
    from rich.console import Group

    if not isinstance(work.recipe, Recipe):
        return Group(_statuses(work), *evaluation_graph.cost_lines(work.recipe, work.recipe_folder))
    expected = _expected_sets(work.recipe, work.recipe_folder)
    phases = _phases(work, expected, device)
    padding = (0, int(width >= _ROOMY))
    table = _table(f"{work.recipe.name}: {work.folder}", _COLUMNS, padding)
    for state in work.states(work.nodes):
        table.add_row(state.node.name, _STATUS[state.status], *_figures(work, state, phases, expected))
    costs = [*cost_lines(work.recipe, work.folder), *evaluation_graph.cost_lines(work.recipe, work.recipe_folder)]
    memory = [_memory(phases, device, padding)] if phases.known else []
    return Group(table, *memory, *costs, *phases.problems, *_too_much(phases, device), _note(bool(costs), device))


def _statuses(work: Run) -> Table:
    """The steps of a comparison, which neither builds nor trains."""
    table = _table(f"{work.recipe.name}: {work.folder}", ("step", "status"), (0, 1))
    for state in work.states(work.nodes):
        table.add_row(state.node.name, _STATUS[state.status])
    return table


def _table(title: str, columns: tuple[str, ...], padding: tuple[int, int]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", padding=padding)
    for name in columns:
        # Numbers are never cut; a long name is folded.
        left = name in ("step", "status", "phase")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "step", overflow="fold")
    return table


def _memory(phases: Phases, device: Device, padding: tuple[int, int]) -> Table:
    of = f"one of {device.processes} devices" if device.processes > 1 else "one device"
    table = _table(f"memory of {of}, GiB of tensors ({'GPU' if device.gpu else 'CPU'})", _MEMORY, padding)
    for name, phase in phases.known.items():
        needs = phase.needs
        share = 100 * needs.trained / needs.parameters
        parts = (needs.weights, needs.gradients, needs.optimizer, needs.activations, needs.peak)
        table.add_row(name, _size(needs.parameters), f"{share:.3g} %", *map(_gib, parts))
    return table


def _note(teacher: bool, device: Device) -> str:
    from pediatricsgpt.training.estimate import OPERATIONS_PER_CORE, TOKENS_PER_ROW

    asked = "answers that are already paid for cost nothing again" if teacher else "cost: 0 (no teacher is asked)"
    return (
        f"{asked}. Figures without ~ are counted, or those of the last time that a step ran. ~ is a sample of a set "
        "that is built; of one that is not, rough: one token for 3 bytes of UTF-8, 2 of another encoding, 30 of PDF "
        f"and DOCX, nothing dropped, {TOKENS_PER_ROW} tokens a row. Memory is found by a step without data; the "
        f"libraries take about {'1 GiB on a GPU' if device.gpu else '0.6 GiB'} more. Time of training is at a nominal "
        f"{2 * OPERATIONS_PER_CORE / 1e9:.0f} GFLOP/s for 2 CPU cores; a GPU is faster by far"
    )


def _phases(work: Run, expected: dict[str, SetSize], device: Device) -> Phases:
    """What the phases will do and need, each by the model that the recipe names."""
    found = Phases()
    try:
        config = _config(work)
    except UserError as error:
        found.problems.append(f"memory, steps and time are not known: {error}")
        return found
    for name in PHASES:
        try:
            found.known[name] = _phase(work, name, config, expected, device)
        except UserError as error:
            found.problems.append(f"{name}: {error}")
    return found


def _config(work: Run) -> Any:
    try:
        import trl  # noqa: F401

        from pediatricsgpt.models.load import config_of
    except ImportError as error:
        raise require_extra("train", error) from error
    return config_of(whole(work.recipe).model, work.recipe_folder)


def _phase(work: Run, name: str, config: Any, expected: dict[str, SetSize], device: Device) -> Phase:
    from trl import DPOConfig, SFTConfig

    from pediatricsgpt.models.load import tokenizer_of
    from pediatricsgpt.training.arguments import arguments
    from pediatricsgpt.training.estimate import work_expected, work_of_set
    from pediatricsgpt.training.memory import needs_of, shared_out

    recipe = whole(work.recipe)
    settings: PhaseSettings = getattr(recipe, name).resolved(work.recipe_folder)
    settings = getattr(settings, "one_pass", settings)
    kind = DPOConfig if isinstance(settings, DfpoSettings) else SFTConfig
    args = arguments(kind, work.path(name), recipe.seed, settings, gpu=device.gpu)
    rows = work.path(_SETS[name]) / ROWS
    if manifest.read_manifest(work.path(_SETS[name])) is not None:
        tokenizer = tokenizer_of(recipe.model, work.recipe_folder)
        planned = work_of_set(rows, tokenizer, settings, args, recipe.seed, device.processes)
    else:
        planned = work_expected(expected[_SETS[name]], settings, args, device.processes)
    trust = recipe.model.trust_remote_code
    needs = needs_of(config, settings, args, planned.layout, gpu=device.gpu, trust_remote_code=trust)
    needs = shared_out(needs, settings.trainer, device.processes)
    return Phase(planned, needs, planned.steps(args), planned.trained_tokens(args))


def _too_much(phases: Phases, device: Device) -> list[str]:
    """A line for each phase that does not fit on this machine, where it is planned for this machine."""
    there = _memory_here(device.gpu)
    return [
        f"{name}: {phase.needs.peak / GIB:,.1f} GiB do not fit into the {there / GIB:,.1f} GiB of this machine; try a "
        f"smaller trainer.per_device_train_batch_size, max_length{_smaller(name)} or a smaller base"
        for name, phase in phases.known.items()
        if there and phase.needs.peak > there
    ]


def _smaller(name: str) -> str:
    own = {"dfpo": "reference: precomputed or adapter", "experts": "base_dtype: bfloat16, int8 or nf4"}
    return f", {own.get(name, 'trainer.optim: adafactor')}"


def gpu_here() -> bool:
    """Whether this machine has a GPU; False where torch is not installed."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _memory_here(gpu: bool) -> int:
    """Bytes of one GPU, or of the machine; 0 where it is planned for a GPU and none is here."""
    if not gpu:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else 0


def _figures(work: Run, state: State, phases: Phases, expected: dict[str, SetSize]) -> tuple[str, ...]:
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
    if name not in phases.known:
        return rows, tokens, "", "", time
    phase = phases.known[name]
    shown = _count if phase.work.counted else _about
    settings: PhaseSettings = getattr(work.recipe, name)
    fixed = settings.trainer.get("max_steps", -1) > 0
    planned = _count(counts["steps"]) if "steps" in counts else (_count if fixed else shown)(phase.steps)
    if before is None:
        built = manifest.read_manifest(work.path(_SETS[name]))
        counts = built.counts if built else {}
        rows = _count(counts["rows"]) if "rows" in counts else _about(expected[_SETS[name]].rows)
        tokens = shown(phase.work.tokens)
        operations = phase.needs.operations / phase.needs.tokens * phase.trained_tokens
        time = "~" + _time(_seconds(operations, work.recipe))
    memory = _gib(phase.needs.peak)
    return rows, tokens, planned, memory if phase.work.counted else f"~{memory}", time


def _seconds(operations: float, recipe: AnyRecipe) -> float:
    """Time of so many operations on the cores that a recipe takes."""
    from pediatricsgpt.training.estimate import seconds

    return seconds(operations, recipe.threads or os.cpu_count() or 1)


def _gib(size: int) -> str:
    return f"{size / GIB:,.{1 if size >= 10 * GIB else 2 if size >= GIB / 10 else 3}f}"


def _size(parameters: int) -> str:
    return f"{parameters / 1e9:,.2f} B" if parameters >= 1e9 else f"{parameters / 1e6:,.1f} M"


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


def _expected_sets(recipe: Recipe, folder: Path) -> dict[str, SetSize]:
    """Sizes of the sources and of the sets that are to be built from them, from the bytes of the sources alone."""
    from pediatricsgpt.corpus.sources import source_files
    from pediatricsgpt.training.estimate import TOKENS_PER_ROW, SetSize

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
