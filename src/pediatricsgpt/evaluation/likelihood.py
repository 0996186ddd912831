"""Held-out loss: how surprised a model is by the answers of dialogues, and by texts, that no training set has seen.

The loss of every row is kept, so that models can be compared on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pediatricsgpt.evaluation.benchmarks import spread
from pediatricsgpt.evaluation.statistics import (
    Difference,
    Verdict,
    bootstrap_ratio,
    cases_of,
    paired_bootstrap_difference,
)
from pediatricsgpt.models.encode import IGNORED, Encoded, encode_answer, encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import Message

_TEXT_WINDOW = 2048
"""Longest piece of a text that is read at once, where the model would take more: it bounds the memory"""
_DIGITS = 6


@dataclass(slots=True)
class RowLoss:
    """Negative log-likelihood of one row in nats, summed over the `tokens` that were told."""

    id: str
    nll: float
    tokens: int
    labels: dict[str, str]
    """What the row is: of a dialogue its task, of a text its form; and the source"""
    group: str | None = None
    """The document or dialogue that it comes from: rows of one are resampled together"""


@dataclass(slots=True)
class HeldOutLoss:
    """Mean negative log-likelihood per answer token in nats, with a bootstrap interval over rows, by their group."""

    mean: float
    low: float
    high: float
    rows: int
    tokens: int
    left_out_too_long: int
    items: list[RowLoss] = field(default_factory=list)
    """Row by row, those that were measured"""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True)
class TextLoss:
    """Loss on texts: of all, by form and by source; each with rows, tokens, nats per token and perplexity."""

    whole: dict[str, float | int]
    by_form: dict[str, dict[str, float | int]]
    by_source: dict[str, dict[str, float | int]]
    window: int
    """Tokens that are read at once; longer texts are measured piece by piece"""
    items: list[RowLoss] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
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
    window = _window(loaded)
    encoded = [encode_dialogue(loaded.tokenizer, row["messages"]) for row in rows]
    fitting = [place for place, item in enumerate(encoded) if len(item.input_ids) <= window]
    found = _measured(loaded, [encoded[place] for place in fitting], batch_tokens, advance)
    advance(len(encoded) - len(fitting))
    items = [
        RowLoss(str(rows[place]["id"]), round(loss, _DIGITS), tokens, _labels(rows[place], "task"), _group(rows[place]))
        for place, (loss, tokens) in zip(fitting, found, strict=True)
    ]
    groups = cases_of([item.group for item in items])
    interval = bootstrap_ratio([loss for loss, _ in found], [tokens for _, tokens in found], seed=seed, groups=groups)
    return HeldOutLoss(
        interval.mean,
        interval.low,
        interval.high,
        len(fitting),
        sum(tokens for _, tokens in found),
        len(encoded) - len(fitting),
        items,
    )


def text_loss(
    loaded: Loaded,
    rows: Sequence[dict[str, Any]],
    seed: int,
    batch_tokens: int = 4096,
    advance: Callable[[int], None] = lambda _: None,
) -> TextLoss:
    """Loss and perplexity on rows of the CPT contract, the end of each text included; the same tokens as in training.

    Perplexities of models with different tokenizers say nothing about each other.

    Args:
        batch_tokens: pieces are taken together up to this many tokens, padding included; it bounds the memory.

    Raises:
        UserError: the tokenizer has no end token.
        ValueError: there is no row.
    """
    window = int(min(_window(loaded), _TEXT_WINDOW))
    pieces: list[Encoded] = []
    owners: list[int] = []
    for place, row in enumerate(rows):
        whole = encode_text(loaded.tokenizer, row["text"])
        for start in range(0, len(whole.input_ids), window):
            stop = start + window
            # A piece is told without what stands before it, as in training: its first token is not.
            pieces.append(Encoded(whole.input_ids[start:stop], whole.labels[start:stop]))
            owners.append(place)
    sums = [[0.0, 0] for _ in rows]
    for owner, (loss, tokens) in zip(owners, _measured(loaded, pieces, batch_tokens), strict=True):
        sums[owner][0] += loss
        sums[owner][1] += tokens
    advance(len(rows))
    items = [
        RowLoss(str(row["id"]), round(float(loss), _DIGITS), int(tokens), _labels(row, "form"), _group(row))
        for row, (loss, tokens) in zip(rows, sums, strict=True)
    ]
    forms, sources = (_by(items, name, seed) for name in ("form", "source"))
    return TextLoss(_perplexity(items, seed), forms, sources, window, items)


def answer_losses(
    loaded: Loaded, pairs: Sequence[tuple[Sequence[Message], str]], batch_tokens: int = 4096
) -> list[tuple[float, int] | None]:
    """How surprised a model is by given answers: (summed negative log-likelihood in nats, tokens) of each.

    The tokens are those that training teaches of an answer, its end included. None for an answer that does not fit
    the model's window together with its prompt.

    Args:
        pairs: a dialogue that ends with the user, and an answer to it.
        batch_tokens: sequences are taken together up to this many tokens, padding included; it bounds the memory.
    """
    window = _window(loaded)
    encoded = []
    for prompt, answer in pairs:
        asked, told = encode_answer(loaded.tokenizer, prompt, Message(role="assistant", content=answer))
        encoded.append(Encoded([*asked, *told], [IGNORED] * len(asked) + told))
    fitting = [place for place, item in enumerate(encoded) if len(item.input_ids) <= window]
    found = dict(zip(fitting, _measured(loaded, [encoded[place] for place in fitting], batch_tokens), strict=True))
    return [found.get(place) for place in range(len(pairs))]


def next_log_probabilities(
    loaded: Loaded,
    starts: Sequence[Sequence[int]],
    endings: Sequence[Sequence[Sequence[int]]],
    batch_tokens: int = 4096,
) -> list[list[float]]:
    """Log-probability in nats of each ending behind its start, summed over the ending's tokens.

    A start is read once for all of its endings that have one token.

    Args:
        starts: token ids that are given.
        endings: for each start, token ids of what may follow, one or more each.
        batch_tokens: as in `answer_losses`.
    """
    import torch

    wanted: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for place, (start, some) in enumerate(zip(starts, endings, strict=True)):
        for number, ending in enumerate(some):
            wanted.setdefault((*start, *ending[:-1]), []).append((place, number))
    found = [[0.0] * len(some) for some in endings]
    contexts = [Encoded(list(ids), []) for ids in sorted(wanted, key=lambda ids: (len(ids), ids))]
    for batch in _batches(contexts, batch_tokens):
        logits = _logits(loaded, [item.input_ids for item in batch])
        for row, item in enumerate(batch):
            for place, number in wanted[tuple(item.input_ids)]:
                ending, first = endings[place][number], len(starts[place]) - 1
                told = torch.log_softmax(logits[row, first : first + len(ending)].float(), dim=-1)
                found[place][number] = float(sum(told[step, token] for step, token in enumerate(ending)))
    return found


def change(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], seed: int) -> Difference | None:
    """How the loss per token changed between two models on the same rows; less is better.

    Args:
        before: rows of a `RowLoss` as plain values, of the earlier model.
        after: of the later one.
        seed: of the bootstrap over rows.

    Returns:
        None where no row was measured on the same tokens with both: other rows, or another tokenizer.
    """
    earlier = {row["id"]: row for row in before}
    pairs = [(earlier[row["id"]], row) for row in after if row["id"] in earlier]
    pairs = [(old, new) for old, new in pairs if old["tokens"] == new["tokens"] > 0]
    if not pairs:
        return None
    fell = [float(old["nll"]) - float(new["nll"]) for old, new in pairs]
    tokens = [int(new["tokens"]) for _, new in pairs]
    groups = cases_of([new.get("group") for _, new in pairs])
    ratio = bootstrap_ratio(fell, tokens, seed=seed, groups=groups)
    # The interval of the loss per token says by how much, and whether so few cases may have a verdict at all.
    enough = paired_bootstrap_difference([1.0] * len(pairs), [0.0] * len(pairs), groups=groups).verdict == "better"
    verdict: Verdict = "no verdict"
    if enough and not ratio.low <= 0 <= ratio.high:
        verdict = "better" if ratio.low > 0 else "worse"
    return Difference(-ratio.mean, -ratio.high, -ratio.low, ratio.n, verdict)


def _window(loaded: Loaded) -> float:
    return getattr(loaded.model.config, "max_position_embeddings", None) or float("inf")


def _labels(row: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {kind: str(row.get(kind) or ""), "source": str((row.get("source") or {}).get("name") or "")}


def _group(row: Mapping[str, Any]) -> str | None:
    return str(row["group"]) if row.get("group") else None


def _by(items: Sequence[RowLoss], name: str, seed: int) -> dict[str, dict[str, float | int]]:
    groups: dict[str, list[RowLoss]] = {}
    for item in items:
        groups.setdefault(item.labels[name], []).append(item)
    return {value: _perplexity(groups[value], seed) for value in sorted(groups)}


def _perplexity(items: Sequence[RowLoss], seed: int) -> dict[str, float | int]:
    """Rows, tokens, nats per token with an interval over cases, perplexity with the same."""
    groups = cases_of([item.group for item in items])
    found = bootstrap_ratio([item.nll for item in items], [item.tokens for item in items], seed=seed, groups=groups)
    values = {"nll": found.mean, "low": found.low, "high": found.high}
    perplexities = {"ppl": found.mean, "ppl_low": found.low, "ppl_high": found.high}
    return {
        "rows": len(items),
        "tokens": sum(item.tokens for item in items),
        **values,
        **{name: math.exp(min(value, 700.0)) for name, value in perplexities.items()},  # above it a float is infinite
    }


def _measured(
    loaded: Loaded,
    encoded: Sequence[Encoded],
    batch_tokens: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[tuple[float, int]]:
    """Summed loss and loss-carrying tokens of each sequence, in the order given."""
    order = sorted(range(len(encoded)), key=lambda place: len(encoded[place].input_ids))
    found: list[tuple[float, int]] = []
    for batch in _batches([encoded[place] for place in order], batch_tokens):
        found += _losses(loaded, batch)
        advance(len(batch))
    by_place = dict(zip(order, found, strict=True))
    return [by_place[place] for place in range(len(encoded))]


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

    logits = _logits(loaded, [item.input_ids for item in batch])[:, :-1].float()
    labels = _padded([item.labels for item in batch], IGNORED, loaded.model.device)[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    counts = (labels != IGNORED).sum(dim=1)
    return list(zip(loss.sum(dim=1).tolist(), counts.tolist(), strict=True))


def _logits(loaded: Loaded, rows: Sequence[list[int]]) -> Any:
    """What the model expects behind every token: [rows, longest row, vocabulary]; rows are padded on the right."""
    import torch

    device = loaded.model.device
    ids = _padded(rows, loaded.tokenizer.pad_token_id, device)
    mask = _padded([[1] * len(row) for row in rows], 0, device)
    with torch.inference_mode():
        return loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits


def _padded(rows: Sequence[list[int]], filler: int, device: Any) -> Any:
    import torch

    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows], device=device)
