"""Settings of the evaluation room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pediatricsgpt.settings import Settings


class EvaluationSettings(Settings):
    """What every model of a run is measured on: the same held-out items, with the same settings."""

    benchmarks: list[Literal["medkqa", "evidiag", "trerecom"]] = Field(
        default=["medkqa", "evidiag", "trerecom"], min_length=1
    )
    """Held-out tasks on which answers are generated and scored"""
    max_items: int = Field(default=200, ge=1)
    """Items per task, chosen by a hash of their ids"""
    max_loss_rows: int = Field(default=500, ge=1)
    """Held-out rows for the held-out loss, chosen by a hash of their ids"""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest generated answer, in tokens"""
    repetition_penalty: float = Field(default=1.0, ge=1.0)
    """Above 1 a model repeats itself less; answers are greedy otherwise. 1 changes nothing"""
    batch_size: int = Field(default=16, ge=1)
    """Prompts that are generated together"""
    metrics: Literal["paper", "char"] = "paper"
    """Metric profile: paper (words cut by jieba, the published definitions) or char (characters)"""
