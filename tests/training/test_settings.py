"""Settings of the phases: TRL's own arguments pass through a mapping that is checked without importing TRL."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_table_of_trainer_arguments_is_that_of_the_installed_trl(repository: Path) -> None:
    generated = runpy.run_path(str(repository / "tools/trainer_arguments.py"))["text"]()
    kept = (repository / "src/pediatricsgpt/training/trainer_arguments.json").read_text(encoding="utf-8")
    assert kept == generated, "run tools/trainer_arguments.py"
