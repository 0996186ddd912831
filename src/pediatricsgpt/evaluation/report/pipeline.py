"""The steps of a run, how they stand, and the picture of what follows what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.deidentification import NODE as DEIDENTIFICATION
from pediatricsgpt.evaluation.report.deidentification import deidentification
from pediatricsgpt.evaluation.report.files import HELD_OUT, RunFiles
from pediatricsgpt.manifest import Manifest

State = Literal["done", "outdated", "unfinished", "not run yet"]

MARKS: dict[State, str] = {"done": "✓", "outdated": "!", "unfinished": "…", "not run yet": "○"}

_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW, _MARGIN = 152, 56, 190, 92, 18
WIDTH = 4 * _COLUMN + _BOX_WIDTH + 2 * _MARGIN
HEIGHT = 3 * _ROW + _BOX_HEIGHT + 2 * _MARGIN

# Sources and curation on top; below, a column for each model with its data, itself and its evaluation.
_PLACES: dict[str, tuple[int, int, str]] = {
    "corpus/sources": (0, 0, "sources"),
    "corpus/curated": (1, 0, "cleaned, split"),
    "corpus/instructions": (2, 0, "instructions"),
    DEIDENTIFICATION: (3, 0, "de-identification"),
    "corpus/card": (4, 0, "corpus card"),
    HELD_OUT: (0, 1, "held-out set"),
    "corpus/cpt": (1, 1, "CPT text"),
    "corpus/sft": (2, 1, "SFT dialogues"),
    "corpus/preferences": (3, 1, "preference pairs"),
    "corpus/experts": (4, 1, "expert set"),
    **{model: (index, 2, f"{words.model(model)} model") for index, model in enumerate(MODELS)},
    **{f"evaluation/{model}": (index, 3, "evaluation") for index, model in enumerate(MODELS)},
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the run."""

    name: str
    state: State
    rows: str
    manifest: Manifest | None

    @property
    def seconds(self) -> str:
        """How long it took."""
        return words.duration(self.manifest.seconds) if self.manifest else ""


@dataclass(frozen=True, slots=True)
class Box:
    """A step in the picture; `x` and `y` are its upper left corner."""

    x: int
    y: int
    title: str
    state: State
    mark: str
    rows: str
    seconds: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and the SVG paths of the arrows between them."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]

    width = WIDTH
    height = HEIGHT
    box_width = _BOX_WIDTH
    box_height = _BOX_HEIGHT


def steps(run: RunFiles) -> list[Step]:
    """All steps of a run in their order."""
    return [Step(name, state_of(run, name), _rows(run, name), run.manifest(name)) for name in run.nodes]


def state_of(run: RunFiles, name: str) -> State:
    """How a step stands, by its manifest and those of its inputs.

    `outdated`: an input has been made anew, with another content, since this step read it.
    """
    manifest = run.manifest(name)
    if manifest is None:
        return "unfinished" if (run.folder / f"{name}.partial").is_dir() else "not run yet"
    for node, content in manifest.inputs.items():
        if node in run.nodes and not run.holds(node, content):
            return "outdated"
    return "done"


def picture(found: Sequence[Step]) -> Picture:
    """The steps as boxes; all sources are one."""
    by_name = {step.name: step for step in found}
    boxes = [_source_box([step for step in found if step.name.startswith("corpus/sources/")])]
    boxes += [_box(by_name[name]) for name in _PLACES if name in by_name]
    return Picture(tuple(boxes), tuple(_arrows()))


def _rows(run: RunFiles, name: str) -> str:
    """The one count that says most about a step."""
    manifest = run.manifest(name)
    if manifest is None:
        return ""
    counts = manifest.counts
    if name == DEIDENTIFICATION:
        return _recall(run)
    if name == "corpus/preferences":
        pairs = [counts.get(key, 0) for key in ("medical_pairs", "general_pairs", "safety_pairs")]
        return f"{counts.get('rows', sum(pairs)):,} pairs"
    if name == "base" and isinstance(counts.get("parameters"), int):
        return f"{words.millions(counts['parameters'])} parameters"
    keys = {"steps": "steps", "kept": "kept", "items": "answers", "rows": "rows"}
    return next((f"{words.number(counts[key])} {word}" for key, word in keys.items() if key in counts), "")


def _recall(run: RunFiles) -> str:
    """The recall that a floor is set for and that is hardest to reach."""
    found = deidentification(run)
    names = [rate.value for rate in found.recall if rate.name == "names"] if found else []
    return f"finds {words.percent(names[0])} of names" if names else "switched off"


def _source_box(sources: Sequence[Step]) -> Box:
    done = [step.manifest for step in sources if step.manifest]
    kept = sum(int(manifest.counts.get("kept", 0)) for manifest in done)
    states = {step.state for step in sources}
    worst: tuple[State, ...] = ("not run yet", "unfinished", "outdated", "done")
    state: State = next((one for one in worst if one in states), "not run yet")
    x, y, title = _PLACES["corpus/sources"]
    seconds = words.duration(sum(manifest.seconds for manifest in done)) if done else ""
    rows = f"{kept:,} kept" if done else ""
    return Box(
        *_corner(x, y),
        f"{len(sources)} {title}" if len(sources) != 1 else "1 source",
        state,
        MARKS[state],
        rows,
        seconds,
    )


def _box(step: Step) -> Box:
    x, y, title = _PLACES[step.name]
    return Box(*_corner(x, y), title, step.state, MARKS[step.state], step.rows, step.seconds)


def _corner(column: int, row: int) -> tuple[int, int]:
    return _MARGIN + column * _COLUMN, _MARGIN + row * _ROW


def _arrows() -> list[str]:
    """Along the top row, from the instructions down to every set, and down and along the models."""
    along = [((0, 0), (1, 0)), ((1, 0), (2, 0)), *(((column, 2), (column + 1, 2)) for column in range(4))]
    down = [
        *(((column, 1), (column, 2)) for column in range(1, 5)),
        *(((column, 2), (column, 3)) for column in range(5)),
    ]
    middle = _corner(2, 0)[0] + _BOX_WIDTH // 2
    start, end = _corner(0, 0)[1] + _BOX_HEIGHT, _corner(0, 1)[1]
    bus = (start + end) // 2
    fans = [f"M{middle} {start}V{bus}H{_corner(column, 1)[0] + _BOX_WIDTH // 2}V{end - 1}" for column in range(5)]
    straight = [*(_along(*pair) for pair in along), *(_down(*pair) for pair in down)]
    return [*straight, *fans, _measured_first(), _low_answers(), _questions()]


def _along(one: tuple[int, int], other: tuple[int, int]) -> str:
    (x, y), (to, _) = _corner(*one), _corner(*other)
    return f"M{x + _BOX_WIDTH} {y + _BOX_HEIGHT // 2}H{to - 1}"


def _down(one: tuple[int, int], other: tuple[int, int]) -> str:
    (x, y), (_, to) = _corner(*one), _corner(*other)
    return f"M{x + _BOX_WIDTH // 2} {y + _BOX_HEIGHT}V{to - 1}"


def _measured_first() -> str:
    """Nothing is cleaned before it is known how well personal data are found: over the instructions, to the left."""
    (x, y), (to, _) = _corner(3, 0), _corner(1, 0)
    half = _BOX_WIDTH // 2
    return f"M{x + half} {y}V{y - _MARGIN // 2}H{to + half}V{y - 1}"


def _low_answers() -> str:
    """The SFT model gives the low answers of the preference pairs: up from the model to the set beside it."""
    (x, y), (to, top) = _corner(2, 2), _corner(3, 1)
    between = (x + _BOX_WIDTH + to) // 2
    return f"M{x + _BOX_WIDTH - 24} {y}V{y - 14}H{between}V{top + _BOX_HEIGHT // 2}H{to - 1}"


def _questions() -> str:
    """The held-out set is what all models are measured on: past the base model, to the row of the evaluations."""
    (x, y), (_, to) = _corner(0, 1), _corner(0, 3)
    half = _BOX_HEIGHT // 2
    return f"M{x} {y + half}H{x - 11}V{to + half}H{x - 1}"
