"""Phase 1: continued pre-training with the hybrid instruction mechanism (paper, section on CPT).

Plain text and instructions written as completions run in one stream; `L = - sum_i log p(t_i | t_<i)` over all tokens.
"""

from __future__ import annotations

from typing import Any

from pediatricsgpt.models.load import load
from pediatricsgpt.training.data import tell, text_set
from pediatricsgpt.training.phase import Job, supervised
from pediatricsgpt.training.settings import CptSettings


def train(job: Job, settings: CptSettings) -> dict[str, Any]:
    """Train all weights on the CPT set; the result is a model folder.

    Returns:
        counts for the manifest.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = text_set(job.data, loaded.tokenizer, settings, job.seed, job=job)
    tell(job.console, job.name, prepared)
    return supervised(job, settings.one_pass, loaded, prepared, packing="bfd_split")
