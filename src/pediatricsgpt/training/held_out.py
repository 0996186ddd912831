"""Rows that a phase does not train on, and their loss: row by row, so in little memory and the same however packed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.nn import functional

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import IGNORED, Encoded, encode_answer, encode_dialogue, encode_text
from pediatricsgpt.records import read_rows

LogLikelihood = tuple[float, int]
"""Summed log-probability of the tokens that carry loss, in nats, and their number"""


@dataclass(frozen=True, slots=True)
class Objective:
    """Of preference training: the strength of the preference term and the weight of the likelihood."""

    beta: float = 0.1
    mu: float = 1.0


@dataclass(slots=True)
class Held:
    """Sequences of one watched set; of preference pairs the preferred and the low side lie behind one another."""

    sequences: list[Encoded]
    pairs: bool
    counts: dict[str, int]
    """rows measured; rows left out because they (or their group) are trained on, are too long, or carry no loss"""


def held_sets(
    watched: Mapping[str, Path], trained: Path, tokenizer: Any, *, rows: int, max_length: int
) -> dict[str, Held]:
    """The rows to measure, of each watched set: the first by id, which is a hash of the content, so as if drawn.

    Args:
        watched: Parquet files of the data contract (texts, instructions or preference pairs), by name.
        trained: the set that the phase trains on; its rows and groups are never measured.
        tokenizer: of the model.
        rows: of each set at the most.
        max_length: longer texts are cut to it, longer dialogues and pairs left out and counted.

    Raises:
        UserError: a set has no row that can be measured.
    """
    if not watched:
        return {}
    table = pq.read_table(trained, columns=["id", "group"])
    known = {value for column in table.columns for value in column.to_pylist()}
    return {name: _held(path, known, tokenizer, rows, max_length) for name, path in watched.items()}


def _held(path: Path, known: set[str], tokenizer: Any, rows: int, max_length: int) -> Held:
    counts = {"rows": 0, "left_out_trained": 0, "left_out_too_long": 0, "left_out_without_loss": 0}
    sequences: list[Encoded] = []
    pairs = False
    for row in sorted(read_rows(path), key=lambda row: str(row["id"])):
        if counts["rows"] == rows:
            break
        if row["id"] in known or row["group"] in known or row["split"] == "train":
            counts["left_out_trained"] += 1
            continue
        encoded = list(sequences_of(row, tokenizer))
        if "text" in row:
            encoded = [Encoded(one.input_ids[:max_length], one.labels[:max_length]) for one in encoded]
        if any(len(one.input_ids) > max_length for one in encoded):
            counts["left_out_too_long"] += 1
            continue
        if not all(map(_carries_loss, encoded)):
            counts["left_out_without_loss"] += 1
            continue
        counts["rows"] += 1
        pairs = len(encoded) == 2
        sequences += encoded
    if not sequences:
        raise UserError(
            f"no row of this set can be measured: {counts['left_out_trained']} are trained on, "
            f"{counts['left_out_too_long']} are longer than max_length {max_length}, "
            f"{counts['left_out_without_loss']} have nothing that carries loss",
            path,
        )
    return Held(sequences, pairs, counts)


def sequences_of(row: dict[str, Any], tokenizer: Any) -> Iterator[Encoded]:
    """A row of any contract as tokens and labels; a preference pair is two sequences, the preferred one first."""
    if "text" in row:
        yield encode_text(tokenizer, row["text"])
    elif "prompt" in row:
        for side in ("chosen", "rejected"):
            prompt, answer = encode_answer(tokenizer, row["prompt"], row[side][0])
            yield Encoded([*prompt, *answer], [IGNORED] * len(prompt) + answer)
    else:
        yield encode_dialogue(tokenizer, row["messages"])


def _carries_loss(one: Encoded) -> bool:
    return any(label != IGNORED for label in one.labels[1:])


def log_likelihoods(model: Any, held: Held) -> list[LogLikelihood]:
    """Log-probability of each sequence, one at a time; the model is left as it was.

    Args:
        model: a causal LM that `token_loss.add_token_loss` has taught to give the loss without logits of everything.
        held: what is measured.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            found = [_log_likelihood(model, one) for one in held.sequences]
    finally:
        model.train(training)
    return _agreed(found)


def _agreed(found: list[LogLikelihood]) -> list[LogLikelihood]:
    """What the first process found: all must come to the same verdict, to the last bit."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return found
    said: list[Any] = [found]
    torch.distributed.broadcast_object_list(said, src=0)
    return [(value, tokens) for value, tokens in said[0]]


def _log_likelihood(model: Any, one: Encoded) -> LogLikelihood:
    device = next(model.parameters()).device
    ids, following = torch.tensor([one.input_ids], device=device), torch.tensor(one.labels[1:], device=device)
    places = (following != IGNORED).nonzero()[:, 0]
    found = model(input_ids=ids, use_cache=False, loss_positions=places, targets=following[places])
    return -float(found.loss), len(places)


def loss(
    held: Held, found: Sequence[LogLikelihood], reference: Sequence[LogLikelihood] | None, objective: Objective
) -> float:
    """The loss of a set: the mean over all its tokens, or over its pairs of DFPO's loss.

    Args:
        held: the set.
        found: what the model makes of it.
        reference: of pairs, what the reference makes of it.
        objective: of pairs.
    """
    if not held.pairs or reference is None:
        return -sum(value for value, _ in found) / sum(tokens for _, tokens in found)
    change = torch.tensor([now[0] - then[0] for now, then in zip(found, reference, strict=True)], dtype=torch.float64)
    margin = objective.beta * (change[0::2] - change[1::2])
    likelihood = torch.tensor([-value / tokens for value, tokens in found[0::2]], dtype=torch.float64)
    return float((-functional.logsigmoid(margin) + objective.mu * likelihood).mean())
