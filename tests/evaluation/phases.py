"""What a phase of training leaves behind, made up: its log, its counts, its settings, the style of its pairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.records import write_json_lines


def write_shortcuts(folder: Path, chosen: Sequence[str], rejected: Sequence[str]) -> None:
    """What the preference phase writes of pairs, from the corpus's statistics of them."""
    from pediatricsgpt.corpus.build.shortcuts import probe, side_statistics

    sides = {"chosen": side_statistics(chosen, rejected), "rejected": side_statistics(rejected, chosen)}
    found = {"sides": sides, "probe": probe(chosen, rejected)}
    (folder / "shortcuts.json").write_text(json.dumps(found), encoding="utf-8")


def preference_values(step: int, fall: float) -> dict[str, float]:
    return {
        "loss/preference": 0.69 - step / 100,
        "loss/likelihood": 3.0 + step / 100,
        "logps/chosen": -200.0 - fall * step,
        "logps/rejected": -220.0 - 2 * step,
        "rewards/chosen": -0.1 * fall * step,
        "rewards/rejected": -0.2 * step,
        "rewards/margins": 0.1 * step,
        "rewards/accuracies": 0.75,
        "rewards/accuracies_length_normalised": 0.5,
    }


def training_log() -> list[dict[str, Any]]:
    return [
        {"loss": 8.0 - step / 10, "learning_rate": 1e-4, "epoch": step / 40, "step": step} for step in range(5, 41, 5)
    ]


def trained(log: list[dict[str, Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "config.json").write_text(folder.name, encoding="utf-8")
        write_json_lines(folder / "metrics.jsonl", log)

    return write


def text(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("{}", encoding="utf-8") and None


def phase_counts() -> dict[str, Any]:
    return {
        "rows": 18,
        "too_long": 2,
        "tokens": 12_345,
        "loss_tokens": 6_789,
        "steps": 40,
        "parameters": 9_400_000,
        "trained_parameters": 9_400_000,
        "trained_share_percent": 100.0,
        "cut": 3,
        "cut_turns": 5,
        "cut_tokens": 789,
        "by_set": {"corpus": part(10, 9_345, 75.7), "<own>": part(4, 3_000, 24.3)},
        "by_task": {"evidiag": part(5, 3_000, 24.3), "medkqa": part(9, 9_345, 75.7)},
        "by_source": {"guidelines": part(14, 12_345, 100.0)},
    }


def part(rows: int, tokens: int, percent: float) -> dict[str, Any]:
    return {"rows": rows, "tokens": tokens, "loss_tokens": tokens // 2, "share_percent": percent}


def phase_settings() -> dict[str, Any]:
    return {"max_length": 512, "trainer": {"learning_rate": 5e-4, "max_steps": 40}}
