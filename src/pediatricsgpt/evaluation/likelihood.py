"""Held-out loss: how surprised a model is by the answers of dialogues that no training set has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pediatricsgpt.evaluation.benchmarks import spread
from pediatricsgpt.evaluation.statistics import bootstrap_ratio
from pediatricsgpt.models.encode import IGNORED, Encoded, encode_dialogue
from pediatricsgpt.models.load import Loaded


@dataclass(slots=True)
class HeldOutLoss:
    """Mean negative log-likelihood per answer token in nats, with a bootstrap interval over rows."""

    mean: float
    low: float
    high: float
    rows: int
    tokens: int
    left_out_too_long: int

    def as_dict(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)


def choose_rows(rows: Sequence[dict[str, Any]], max_rows: int) -> list[dict[str, Any]]:
    """The rows for the held-out loss, the same for every model of a run."""
    return spread(rows)[:max_rows]


def held_out_loss(
    loaded: Loaded,
    rows: Sequence[dict[str, Any]],
    seed: int,
    batch_tokens: int = 4096,
    advance: Callable[[int], None] = lambda _: None,
) -> HeldOutLoss:
    """Loss on every assistant turn of instruction rows, end tokens included; the same tokens as in training.

    Rows that do not fit the model's window are left out and counted.

    Args:
        batch_tokens: rows are taken together up to this many tokens, padding included; it bounds the memory.
    """
    window = getattr(loaded.model.config, "max_position_embeddings", None) or float("inf")
    encoded = [encode_dialogue(loaded.tokenizer, row["messages"]) for row in rows]
    fitting = sorted((item for item in encoded if len(item.input_ids) <= window), key=lambda x: len(x.input_ids))
    losses: list[float] = []
    tokens: list[int] = []
    for batch in _batches(fitting, batch_tokens):
        for loss, count in _losses(loaded, batch):
            losses.append(loss)
            tokens.append(count)
        advance(len(batch))
    advance(len(encoded) - len(fitting))
    interval = bootstrap_ratio(losses, tokens, seed=seed)
    return HeldOutLoss(
        interval.mean, interval.low, interval.high, len(fitting), sum(tokens), len(encoded) - len(fitting)
    )


def _batches(rows: Sequence[Encoded], batch_tokens: int) -> Iterator[list[Encoded]]:
    """Neighbours of rows sorted by length, as many as fit `batch_tokens` when padded to the longest; at least one."""
    batch: list[Encoded] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.input_ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _losses(loaded: Loaded, batch: Sequence[Encoded]) -> list[tuple[float, int]]:
    """Summed loss and number of loss-carrying tokens of each row; rows are padded on the right."""
    import torch

    width = max(len(item.input_ids) for item in batch)
    device = loaded.model.device

    def padded(values: list[list[int]], filler: int) -> Any:
        return torch.tensor([row + [filler] * (width - len(row)) for row in values], device=device)

    ids = padded([item.input_ids for item in batch], loaded.tokenizer.pad_token_id)
    mask = padded([[1] * len(item.input_ids) for item in batch], 0)
    labels = padded([item.labels for item in batch], IGNORED)[:, 1:]
    with torch.inference_mode():
        logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    counts = (labels != IGNORED).sum(dim=1)
    return list(zip(loss.sum(dim=1).tolist(), counts.tolist(), strict=True))
