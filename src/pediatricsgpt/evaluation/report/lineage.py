"""Where every result comes from: each step with the content of what it read, back to the files of the sources."""

from __future__ import annotations

import json
import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.pipeline import State, state_of
from pediatricsgpt.manifest import Manifest

SHORT_HASH = 12
_MOST_FILES = 40


@dataclass(frozen=True, slots=True)
class Input:
    """What a step read: another step, or a file outside the run."""

    name: str
    content: str
    current: bool
    """Whether that step still holds this content; True of outside files, which the report does not open"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step that is done."""

    name: str
    state: State
    manifest: Manifest
    inputs: Sequence[Input]
    more_files: int
    settings: str


@dataclass(frozen=True, slots=True)
class Descent:
    """Everything that one model was made from, the last step first."""

    model: str
    ancestors: Sequence[str]
    files: int


def entries(run: RunFiles) -> list[Entry]:
    """All steps that are done, in the order of the run."""
    done = run.done()
    root = _common_folder([name for manifest in done.values() for name in manifest.inputs if name not in run.nodes])
    return [_entry(run, name, manifest, root) for name, manifest in done.items()]


def descents(run: RunFiles) -> list[Descent]:
    """For each model of the run what it was made from, back to the sources."""
    done = run.done()
    found = []
    for model in MODELS:
        if model in done:
            ancestors = _ancestors(run, model)
            outside = [name for one in (model, *ancestors) for name in done[one].inputs if name not in run.nodes]
            found.append(Descent(model, ancestors, len(set(outside))))
    return found


def _ancestors(run: RunFiles, name: str) -> list[str]:
    """Steps that `name` was made from, against the order of the run: models first, then the data."""
    done = run.done()
    found: set[str] = set()
    waiting = [name]
    while waiting:
        above = {node for node in done[waiting.pop()].inputs if node in done} - found
        found |= above
        waiting += above
    return [node for node in reversed(run.nodes) if node in found]


def _entry(run: RunFiles, name: str, manifest: Manifest, root: str) -> Entry:
    inputs = []
    for source, content in manifest.inputs.items():
        if source in run.nodes:
            inputs.append(Input(source, content, run.holds(source, content)))
        else:
            inputs.append(Input(_relative(source, root), content, True))
    settings = json.dumps(manifest.settings, ensure_ascii=False, indent=1)
    return Entry(name, state_of(run, name), manifest, inputs[:_MOST_FILES], len(inputs[_MOST_FILES:]), settings)


def _common_folder(files: Sequence[str]) -> str:
    """The folder that all outside files lie below: where it stands on this machine is nobody's business."""
    absolute = [name for name in files if PurePath(name).is_absolute()]
    return os.path.commonpath([str(PurePath(name).parent) for name in absolute]) if absolute else ""


def _relative(name: str, root: str) -> str:
    return os.path.relpath(name, root) if root and PurePath(name).is_absolute() else name
