"""Phase 2: full-parameter supervised fine-tuning, the medical generalist (paper, section on SFT).

Loss on the assistant's tokens only, in every assistant turn.
"""

from __future__ import annotations

from typing import Any

from pediatricsgpt.models.load import load
from pediatricsgpt.training.data import dialogue_set, tell
from pediatricsgpt.training.phase import Job, supervised
from pediatricsgpt.training.settings import SftSettings


def train(job: Job, settings: SftSettings) -> dict[str, Any]:
    """Train all weights on the SFT set; the result is a model folder.

    Returns:
        counts for the manifest.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = dialogue_set(job.data, loaded.tokenizer, settings, job.seed, job=job)
    tell(job.console, job.name, prepared)
    return supervised(job, settings, loaded, prepared, packing="bfd" if settings.packing else None)
