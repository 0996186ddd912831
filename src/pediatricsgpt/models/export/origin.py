"""What is to be exported: a finished phase of a run, any other model folder, an adapter or a hub id."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import MANIFEST

EXPERTS = "UNIVERSAL_SPECIFIC_EXPERTS"
"""`peft_type` of the mixture of experts; written out, because the package that names it imports torch"""
ADAPTER_CONFIG = "adapter_config.json"
RECIPE = "recipe.yaml"
PHASES = ("base", "cpt", "sft", "dfpo", "experts")
"""Folders of a run that hold a model"""
_UNFINISHED = "this phase is not finished (no manifest.json); let `pedgpt run` or `pedgpt train` end it first"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True, slots=True)
class Origin:
    """A model as a user named it, and what its folder says it is."""

    name: str
    """Folder or hub id, as it was asked for"""
    folder: Path | None
    """None for a hub id"""
    run: Path | None = None
    """The run that the folder is a finished phase of"""
    adapter: dict[str, Any] = field(default_factory=dict)
    """`adapter_config.json`; empty for a whole model"""
    base: str | None = None
    """What an adapter stands on: a folder or a hub id"""

    @property
    def phase(self) -> str | None:
        """The node of the run: `cpt`, `sft`, `dfpo`, `experts` or `base`."""
        return self.folder.name if self.folder is not None and self.run is not None else None

    @property
    def has_experts(self) -> bool:
        """Whether it is an adapter of phase 4."""
        return self.adapter.get("peft_type") == EXPERTS


def find(where: str) -> Origin:
    """Look at a model without loading it.

    Args:
        where: a run's phase folder, a model folder, an adapter folder or a hub id.

    Raises:
        UserError: an unfinished phase, several adapters in one folder, or an adapter without weights or base.
    """
    folder = Path(where).expanduser().resolve()
    if not folder.is_dir():
        if folder.with_name(folder.name + ".partial").is_dir():
            raise UserError(_UNFINISHED, where)
        return Origin(where, None)
    if folder.name.endswith(".partial"):
        raise UserError(_UNFINISHED, where)
    run = folder.parent if folder.name in PHASES and (folder.parent / RECIPE).is_file() else None
    if (folder / RECIPE).is_file():
        raise UserError(f"this is a whole run; name one of its phases, for example {where}/dfpo", where)
    if run is not None and not (folder / MANIFEST).is_file():
        raise UserError(_UNFINISHED, where)
    _refuse_several(folder)
    if not (folder / ADAPTER_CONFIG).is_file():
        return Origin(where, folder, run)
    adapter = _read(folder / ADAPTER_CONFIG)
    if not any((folder / name).is_file() for name in _ADAPTER_WEIGHTS):
        raise UserError("no weights in this adapter (adapter_model.safetensors); fetch or train it again", where)
    return Origin(where, folder, run, adapter, _base_of(folder, adapter))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except ValueError as error:
        raise UserError(f"damaged ({error}); fetch or train the adapter again", path) from error
    return found


def _refuse_several(folder: Path) -> None:
    """PEFT saves further adapters of one model into folders below; a trainer's checkpoints are none."""
    below = sorted(path.parent.name for path in folder.glob(f"*/{ADAPTER_CONFIG}"))
    adapters = [name for name in below if not name.startswith("checkpoint-")]
    top = (folder / ADAPTER_CONFIG).is_file()
    if top and adapters:
        names = ", ".join(["its own", *adapters])
        raise UserError(f"several adapters ({names}); copy the one to export into a folder of its own", folder)
    if adapters and not (folder / "config.json").is_file():
        raise UserError(f"no model of its own but adapters below ({', '.join(adapters)}); name one of them", folder)


def _base_of(folder: Path, adapter: dict[str, Any]) -> str:
    """The base of an adapter by the rule of `models.load`: within a run, phases lie side by side."""
    named = str(adapter.get("base_model_name_or_path") or "")
    if not named:
        raise UserError("the adapter does not say what its base is (base_model_name_or_path); add it", folder)
    sibling = folder.parent / Path(named).name
    base = sibling if (folder / MANIFEST).is_file() and sibling.is_dir() else Path(named).expanduser()
    if base.is_dir():
        if (base / ADAPTER_CONFIG).is_file():
            raise UserError("the base of this adapter is an adapter too; export that one first", base)
        return str(base.resolve())
    if named.startswith((".", "/", "~")) or named.count("/") != 1 or Path(named).parent.is_dir():
        raise UserError(f"the base of this adapter is not there ({named}); put it there or correct its path", folder)
    return named
