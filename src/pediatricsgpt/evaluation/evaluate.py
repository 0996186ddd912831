"""Measure one model of a run: answers to the held-out items, their scores, and the held-out loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.answering import answer_items
from pediatricsgpt.evaluation.benchmarks import held_out_items
from pediatricsgpt.evaluation.likelihood import choose_rows, held_out_loss, text_loss
from pediatricsgpt.evaluation.predictions import PREDICTIONS
from pediatricsgpt.evaluation.routing import has_experts, routing
from pediatricsgpt.evaluation.scoring import write_scores
from pediatricsgpt.evaluation.settings import EvaluationSettings
from pediatricsgpt.models.engine import Engine, Sampling
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import read_rows

LOSS = "held_out_loss.json"
TEXT_LOSS = "text_loss.json"
ROUTING = "routing.json"


def evaluate(
    name: str,
    model: Path,
    held_out: Path,
    folder: Path,
    settings: EvaluationSettings,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
    texts: Path | None = None,
) -> dict[str, Any]:
    """Write predictions, scores and held-out loss of one model into `folder`, and the routing of its experts.

    Args:
        name: the model's name in the predictions, for example `sft`.
        held_out: instruction rows that no training set contains.
        advance: told how many items and rows have just been done.
        texts: CPT rows that no training set contains, for the perplexity by form and source; None measures none.

    Returns:
        counts for the manifest.
    """
    loaded = load(model)
    items = held_out_items(held_out, settings.held_out, settings.max_items)
    rows = choose_rows(read_rows(held_out, "instruction"), settings.max_loss_rows)
    if not items:
        raise UserError(
            f"no held-out item of {', '.join(settings.held_out)}: raise corpus.split.held_out or add sources",
            held_out,
        )
    loss = held_out_loss(loaded, rows, seed, advance=advance)
    (folder / LOSS).write_text(json.dumps(loss.as_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
    text_counts = {} if texts is None else _texts(loaded, texts, folder, settings, seed, advance)
    if has_experts(loaded):
        shares = routing(loaded, rows)
        (folder / ROUTING).write_text(json.dumps(shares, ensure_ascii=False, indent=1), encoding="utf-8")
    sampling = Sampling(settings.max_new_tokens, repetition_penalty=settings.repetition_penalty)
    engine = Engine(loaded, sampling, settings.batch_size)
    fitting = [item for item in items if engine.fits(item.messages)]
    answer_items(engine, fitting, folder / PREDICTIONS, name, advance)
    advance(len(items) - len(fitting))
    write_scores(folder, settings.metrics)
    counts = {"items": len(fitting), "items_too_long": len(items) - len(fitting)}
    return {**counts, "loss_rows": loss.rows, "loss_tokens": loss.tokens, **text_counts}


def _texts(
    loaded: Loaded, texts: Path, folder: Path, settings: EvaluationSettings, seed: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    rows = choose_rows(read_rows(texts, "cpt"), settings.max_loss_rows)
    if not rows:
        return {"text_rows": 0, "text_tokens": 0}
    found = text_loss(loaded, rows, seed, advance=advance)
    (folder / TEXT_LOSS).write_text(json.dumps(found.as_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
    return {"text_rows": found.whole["rows"], "text_tokens": found.whole["tokens"]}


def workload(held_out: Path, settings: EvaluationSettings, texts: Path | None = None) -> int:
    """How many items and rows `evaluate` will report as done, for a progress bar."""
    rows = read_rows(held_out, "instruction")
    items = held_out_items(held_out, settings.held_out, settings.max_items)
    told = 0 if texts is None else len(choose_rows(read_rows(texts, "cpt"), settings.max_loss_rows))
    return len(items) + len(choose_rows(rows, settings.max_loss_rows)) + told
