"""From the rows of the data contract to what the trainers eat: token ids and labels.

We tokenise ourselves and hand over `input_ids` and `labels` (TRL's documented pre-tokenised form), because TRL decides
a data set's format by its first row and cuts long rows without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import Encoded, encode_dialogue, encode_text
from pediatricsgpt.progress import progress
from pediatricsgpt.records import Message
from pediatricsgpt.training import mixture
from pediatricsgpt.training.batches import Piece
from pediatricsgpt.training.kept import Worker, kept, key_of
from pediatricsgpt.training.pool import Drawn, Filling, Pool, notes_of
from pediatricsgpt.training.sets import Contract, Item, Label, check, items
from pediatricsgpt.training.settings import (
    CORPUS,
    CptSettings,
    DialogueSettings,
    ExpertsSettings,
    MixedSettings,
    SftSettings,
)
from pediatricsgpt.training.token_rows import TokenRows

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
    path: Path,
    tokenizer: Any,
    settings: CptSettings | None = None,
    seed: int = 0,
    every: int = 1,
    job: Worker | None = None,
) -> Prepared:
    """Rows of the CPT contract as token ids; loss on all tokens. Long texts are split by the packing, not cut.

    Args:
        path: the set that the corpus built.
        tokenizer: of the model.
        settings: own sets, mixture and token budget; without them, every row once a pass.
        seed: decides what is drawn.
        every: take only each so-manieth row, for an estimate.
        job: of a phase, which keeps the tokens in a file until it is done; None holds them in memory.

    Raises:
        UserError: bad input; the file, the row and what to do are named.
    """
    settings = settings or CptSettings()

    def add(filling: Filling, item: Item) -> None:
        filling.add(encode_text(tokenizer, item.row["text"]), item)

    pool = _pool(_Source(path, settings, "cpt", every), tokenizer, add, job)
    weights = _weights(settings)
    parts = None
    if weights or settings.tokens:
        places = pool.places(_namer(settings, weights)) if weights else {CORPUS: list(range(len(pool.rows)))}
        given = _given(pool, places, weights or {CORPUS: 1.0}, path, settings.tokens)
        parts = mixture.texts(pool.lengths, places, given, settings.max_length, seed)
        _count_left_out(pool, places)
    return _prepared(path, pool, parts, ("set", "form", "source"), settings.max_length)


def dialogue_set(
    path: Path,
    tokenizer: Any,
    settings: DialogueSettings | None = None,
    seed: int = 0,
    every: int = 1,
    job: Worker | None = None,
) -> Prepared:
    """Rows of the instruction contract as token ids; loss on every assistant turn.

    Args:
        path: the set that the corpus built.
        tokenizer: of the model.
        settings: max_length, own sets, mixture, sampling of tasks and what to do with what is too long; without them,
            every row that fits once a pass.
        seed: decides what is drawn.
        every: take only each so-manieth row, for an estimate.
        job: of a phase, which keeps the tokens in a file until it is done; None holds them in memory.

    Raises:
        UserError: bad input; the file, the row and what to do are named.
    """
    settings = settings or SftSettings()
    most, too_long = settings.max_length, settings.too_long

    def add(filling: Filling, item: Item) -> None:
        _add_fitting(filling, item, tokenizer, most, too_long)

    pool = _pool(_Source(path, settings, "instruction", every), tokenizer, add, job)
    weights = _weights(settings)
    parts: list[Piece] | None = None
    told: list[str] = []
    if isinstance(settings, ExpertsSettings) and _samples_tasks(settings):
        parts, told = _sampled(pool, path, settings, seed)
    elif weights:
        places = pool.places(_namer(settings, weights))
        parts = mixture.dialogues(pool.lengths, places, _given(pool, places, weights, path), seed)
        _count_left_out(pool, places)
    prepared = _prepared(path, pool, parts, ("set", "task", "source"), most)
    prepared.notes += told
    return prepared


def _sampled(pool: Pool, path: Path, settings: ExpertsSettings, seed: int) -> tuple[list[Piece], list[str]]:
    """What is drawn of the tasks, and what a person should know of it."""
    places = pool.places(lambda label: label.task, once=True)
    available = {task: sum(pool.lengths[place] for place in own) for task, own in places.items()}
    with _named(path):
        given = mixture.task_budgets(available, settings)
    parts = mixture.dialogues(pool.lengths, places, given, seed)
    pool.counts["not_drawn"] = sum(map(len, places.values())) - len({piece.row for piece in parts})
    return parts, mixture.told_of_tasks(available, given, settings)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a set is read from."""

    path: Path
    settings: MixedSettings
    contract: Contract
    every: int

    def key(self, tokenizer: Any) -> str:
        """A digest of everything that decides the tokens of the rows; which of them are drawn is decided later."""
        own = [[one.title, str(one.path)] for one in self.settings.data]
        # Texts are split by the packing and not here, so their max_length decides nothing.
        fits = [self.settings.max_length, self.settings.too_long] if isinstance(self.settings, DialogueSettings) else []
        files = [self.path, *(one.path for one in self.settings.data)]
        return key_of(tokenizer, files, [self.contract, self.every, own, fits])

    def write(self, add: Callable[[Filling, Item], None], sink: Any, job: Worker | None) -> None:
        """Every row, through `add`."""
        described = (self.path, self.settings.data, self.contract, self.every)
        rows, held_out = check(*described)
        filling = Filling(sink, self.contract == "instruction", rows, held_out)
        with progress(job.console, f"{job.name}: tokens", rows) if job else nullcontext(_nothing) as done:
            for item in items(*described):
                add(filling, item)
                done(1)
        filling.close()


def _pool(source: _Source, tokenizer: Any, add: Callable[[Filling, Item], None], job: Worker | None) -> Pool:
    if job is not None:
        return Pool(kept(job, source.key(tokenizer), lambda sink: source.write(add, sink, job)))
    sink = pa.BufferOutputStream()
    source.write(add, sink, None)
    return Pool(TokenRows(sink.getvalue()))


def _nothing(_: int) -> None:
    """Of a bar that is not shown."""


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


def _add_fitting(filling: Filling, item: Item, tokenizer: Any, max_length: int, too_long: TooLong) -> None:
    messages = item.row["messages"]
    fitted = fit(tokenizer, messages, max_length, too_long)
    if fitted.tokens > max_length:
        if too_long == "error":
            raise UserError(
                f"this dialogue has {fitted.tokens} tokens, more than max_length {max_length}; raise max_length, "
                "shorten the row, or set too_long to drop or cut",
                item.where,
            )
        filling.longest = max(filling.longest, fitted.tokens)
        if fitted.encoded is None:
            filling.counts["too_long"] += 1
            return
        filling.counts["cut"] += 1
        filling.counts["cut_turns"] += len(messages) - fitted.turns
        filling.counts["cut_tokens"] += fitted.tokens - len(fitted.encoded.input_ids)
    if fitted.encoded is not None:
        filling.add(fitted.encoded, item)


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


def _prepared(path: Path, pool: Pool, parts: list[Piece] | None, kinds: Sequence[str], max_length: int) -> Prepared:
    if not len(pool.rows):
        raise UserError("no row of this set fits the phase's max_length; raise it or check the corpus", path)
    drawn = Drawn.of(pool, parts)
    if pool.held_out:
        pool.counts["left_out_held_out"] = pool.held_out
    counts: dict[str, Any] = dict(pool.counts)
    counts["tokens"] = int(drawn.tokens.sum())
    counts["loss_tokens"] = int(drawn.carrying.sum())
    for kind in kinds:
        counts[f"by_{kind}"] = drawn.by(pool, kind)
    return Prepared(pool.rows, counts, parts, notes_of(pool, counts, max_length))
