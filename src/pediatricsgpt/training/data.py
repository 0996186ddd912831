"""From the rows of the data contract to what the trainers eat: token ids and labels.

We tokenise ourselves and hand over `input_ids` and `labels` (TRL's documented pre-tokenised form), because TRL decides
a data set's format by its first row and cuts long rows without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import Encoded, encode_dialogue, encode_text
from pediatricsgpt.records import Message
from pediatricsgpt.training import mixture
from pediatricsgpt.training.batches import Piece
from pediatricsgpt.training.pool import Pool, by, carrying, notes_of
from pediatricsgpt.training.sets import Item, Label, read
from pediatricsgpt.training.settings import (
    CORPUS,
    CptSettings,
    DialogueSettings,
    ExpertsSettings,
    MixedSettings,
    SftSettings,
)

TooLong = Literal["drop", "cut", "error"]


@dataclass(slots=True)
class Prepared:
    """A data set for a trainer, and what became of the rows."""

    dataset: Any
    counts: dict[str, Any]
    parts: list[Piece] | None = None
    """Which tokens of which rows a pass has, for `PackedTrainer`; None is all of them once"""
    notes: list[str] = field(default_factory=list)
    """What a person should be told before the training starts"""


def tell(console: Any, name: str, prepared: Prepared) -> None:
    """Show what a person should know of a set before the training starts."""
    for note in prepared.notes:
        console.print(f"  {name}: {note}", highlight=False, soft_wrap=True, markup=False)


def text_set(
    path: Path, tokenizer: Any, settings: CptSettings | None = None, seed: int = 0, every: int = 1
) -> Prepared:
    """Rows of the CPT contract as token ids; loss on all tokens. Long texts are split by the packing, not cut.

    Args:
        path: the set that the corpus built.
        tokenizer: of the model.
        settings: own sets, mixture and token budget; without them, every row once a pass.
        seed: decides what is drawn.
        every: take only each so-manieth row, for an estimate.

    Raises:
        UserError: bad input; the file, the row and what to do are named.
    """
    settings = settings or CptSettings()
    items, held_out = read(path, settings.data, "cpt", every)
    pool = Pool(counts=Counter(rows=len(items), too_long=0, without_loss=0))
    for item in items:
        pool.add(encode_text(tokenizer, item.row["text"]), item)
    weights = _weights(settings)
    parts = None
    if weights or settings.tokens:
        places = pool.places(_namer(settings, weights)) if weights else {CORPUS: list(range(len(pool.rows)))}
        given = _given(pool, places, weights or {CORPUS: 1.0}, path, settings.tokens)
        parts = mixture.texts(pool.lengths, places, given, settings.max_length, seed)
        _count_left_out(pool, places)
    return _prepared(path, pool, parts, held_out, ("set", "form", "source"), settings.max_length)


def dialogue_set(
    path: Path,
    tokenizer: Any,
    max_length: int,
    settings: DialogueSettings | None = None,
    seed: int = 0,
    every: int = 1,
) -> Prepared:
    """Rows of the instruction contract as token ids; loss on every assistant turn.

    Args:
        path: the set that the corpus built.
        tokenizer: of the model.
        max_length: longest dialogue in tokens.
        settings: own sets, mixture, sampling of tasks and what to do with what is too long; without them, every row
            that fits once a pass.
        seed: decides what is drawn.
        every: take only each so-manieth row, for an estimate.

    Raises:
        UserError: bad input; the file, the row and what to do are named.
    """
    settings = settings or SftSettings(max_length=max_length)
    items, held_out = read(path, settings.data, "instruction", every)
    pool = Pool(counts=Counter(rows=len(items), too_long=0, without_loss=0))
    for item in items:
        _add_fitting(pool, item, tokenizer, max_length, settings.too_long)
    weights = _weights(settings)
    parts = None
    if isinstance(settings, ExpertsSettings) and _samples_tasks(settings):
        places = pool.places(lambda label: label.task, once=True)
        lengths = pool.lengths
        available = {task: sum(lengths[place] for place in own) for task, own in places.items()}
        with _named(path):
            parts = mixture.dialogues(lengths, places, mixture.task_budgets(available, settings), seed)
    elif weights:
        places = pool.places(_namer(settings, weights))
        parts = mixture.dialogues(pool.lengths, places, _given(pool, places, weights, path), seed)
        _count_left_out(pool, places)
    return _prepared(path, pool, parts, held_out, ("set", "task", "source"), max_length)


@dataclass(slots=True)
class Fitted:
    """A dialogue as it is trained on."""

    encoded: Encoded | None
    """None where no answer of it fits"""
    tokens: int
    """Of the whole dialogue"""
    turns: int
    """That are kept, from the beginning"""


def fit(tokenizer: Any, messages: Sequence[Message], max_length: int, too_long: TooLong) -> Fitted:
    """A dialogue, or of one that is too long what `too_long` says: with `cut` the turns up to the last whole answer
    that fits, else nothing.
    """
    whole = encode_dialogue(tokenizer, messages)
    tokens = len(whole.input_ids)
    if tokens <= max_length:
        return Fitted(whole, tokens, len(messages))
    ends = [place + 1 for place, turn in enumerate(messages) if turn["role"] == "assistant"]
    for end in reversed(ends if too_long == "cut" else []):
        encoded = encode_dialogue(tokenizer, messages[:end])
        if len(encoded.input_ids) <= max_length:
            return Fitted(encoded, tokens, end)
    return Fitted(None, tokens, 0)


def _add_fitting(pool: Pool, item: Item, tokenizer: Any, max_length: int, too_long: TooLong) -> None:
    messages = item.row["messages"]
    fitted = fit(tokenizer, messages, max_length, too_long)
    if fitted.tokens > max_length:
        if too_long == "error":
            raise UserError(
                f"this dialogue has {fitted.tokens} tokens, more than max_length {max_length}; raise max_length, "
                "shorten the row, or set too_long to drop or cut",
                item.where,
            )
        pool.longest = max(pool.longest, fitted.tokens)
        if fitted.encoded is None:
            pool.counts["too_long"] += 1
            return
        pool.counts["cut"] += 1
        pool.counts["cut_turns"] += len(messages) - fitted.turns
        pool.counts["cut_tokens"] += fitted.tokens - len(fitted.encoded.input_ids)
    if fitted.encoded is not None:
        pool.add(fitted.encoded, item)


def _samples_tasks(settings: ExpertsSettings) -> bool:
    return settings.task_sampling != "as_built" or settings.general_replay is not None


def _weights(settings: MixedSettings) -> dict[str, float]:
    """Share of each part; empty where every row comes once a pass."""
    if settings.mixture is not None:
        return dict(settings.mixture)
    own = {one.title: one.weight for one in settings.data if one.weight is not None}
    rest = 1 - sum(own.values())
    return {**own, **({CORPUS: rest} if rest > 1e-9 else {})} if own else {}


def _namer(settings: MixedSettings, weights: Mapping[str, float]) -> Callable[[Label], str | None]:
    if settings.mixture is not None:
        return lambda label: label.part(weights)
    # Sets without a weight of their own are one part with the corpus's.
    return lambda label: label.set if label.set in weights else CORPUS if CORPUS in weights else None


def _given(
    pool: Pool, places: Mapping[str, list[int]], weights: Mapping[str, float], path: Path, tokens: int | None = None
) -> dict[str, int]:
    """Tokens of each part; `tokens` together, or as many as all rows of the parts have."""
    if empty := [name for name in weights if name not in places]:
        kinds = ("set", "source", "task", "form", "family")
        known = sorted({value for label in pool.labels for kind in kinds if (value := getattr(label, kind))})
        raise UserError(
            f"the mixture names {', '.join(empty)}, and no row that can be trained on belongs to it once the "
            f"other parts have theirs; the rows are of {', '.join(known[:20]) or 'nothing'}",
            path,
        )
    lengths = pool.lengths
    return mixture.budgets(weights, tokens or sum(lengths[place] for own in places.values() for place in own))


def _count_left_out(pool: Pool, places: Mapping[str, list[int]]) -> None:
    pool.counts["left_out_mixture"] = len(pool.rows) - sum(map(len, places.values()))


class _named:
    """Says of an error of the drawing in which set it is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UserError) and error.where is None:
            raise UserError(error.message, self._path) from error


def _prepared(
    path: Path, pool: Pool, parts: list[Piece] | None, held_out: int, kinds: Sequence[str], max_length: int
) -> Prepared:
    drawn = parts if parts is not None else [Piece(row, 0, length) for row, length in enumerate(pool.lengths)]
    if held_out:
        pool.counts["left_out_held_out"] = held_out
    sizes = [(piece.row, piece.stop - piece.start, carrying(pool, piece)) for piece in drawn]
    counts: dict[str, Any] = dict(pool.counts)
    counts["tokens"] = sum(size for _, size, _ in sizes)
    counts["loss_tokens"] = sum(loss for _, _, loss in sizes)
    for kind in kinds:
        counts[f"by_{kind}"] = by(pool, sizes, kind)
    return Prepared(_dataset(path, pool.rows), counts, parts, notes_of(pool, counts, max_length))


def _dataset(path: Path, rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    if not rows:
        raise UserError("no row of this set fits the phase's max_length; raise it or check the corpus", path)
    return Dataset.from_list(rows)
