"""What is to be exported: a finished phase of a run, any other model folder, an adapter or a hub id."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import MANIFEST
from pediatricsgpt.models import adapter

RECIPE = "recipe.yaml"
PHASES = ("base", "cpt", "sft", "dfpo", "experts")
"""Folders of a run that hold a model"""
_UNFINISHED = "this phase is not finished (no manifest.json); let `pedgpt run` or `pedgpt train` end it first"


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
    def released(self) -> bool:
        """Whether it is an adapter that the paper's authors' code saved."""
        return self.folder is not None and bool(self.adapter) and adapter.is_released(self.folder, self.adapter)

    @property
    def has_experts(self) -> bool:
        """Whether it is an adapter of phase 4."""
        return self.adapter.get("peft_type") == adapter.EXPERTS or self.released


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
    if not (folder / adapter.CONFIG).is_file():
        return Origin(where, folder, run)
    settings = adapter.settings_of(folder)
    adapter.weights_of(folder)
    return Origin(where, folder, run, settings, _base_of(folder, settings))


def _refuse_several(folder: Path) -> None:
    """PEFT saves further adapters of one model into folders below; a trainer's checkpoints are none."""
    below = sorted(path.parent.name for path in folder.glob(f"*/{adapter.CONFIG}"))
    adapters = [name for name in below if not name.startswith("checkpoint-")]
    top = (folder / adapter.CONFIG).is_file()
    if top and adapters:
        names = ", ".join(["its own", *adapters])
        raise UserError(f"several adapters ({names}); copy the one to export into a folder of its own", folder)
    if adapters and not (folder / "config.json").is_file():
        raise UserError(f"no model of its own but adapters below ({', '.join(adapters)}); name one of them", folder)


def _base_of(folder: Path, settings: dict[str, Any]) -> str:
    base = adapter.base_of(folder, settings)
    if (Path(base) / adapter.CONFIG).is_file():
        raise UserError("the base of this adapter is an adapter too; export that one first", base)
    return base
