"""Preference pairs to packed sequences, without padding; the prompt once for both sides, or once for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from pediatricsgpt.training.batches import Pack, Packs, Piece

Batch = dict[str, Any]
_POSITIONS = ("input_ids", "position_ids", "answer_positions", "answer_targets")


def pieces(pairs: Any, share: bool) -> list[Piece]:
    """Each pair as a piece as long as what it takes of a packed sequence.

    Args:
        pairs: mappings with `prompt_ids`, `chosen_ids` and `rejected_ids`.
        share: whether both sides have one prompt together.
    """
    return [
        Piece(
            row, 0, len(pair["prompt_ids"]) * (1 if share else 2) + len(pair["chosen_ids"]) + len(pair["rejected_ids"])
        )
        for row, pair in enumerate(pairs)
    ]


@dataclass(slots=True)
class PackedPairs(Dataset[Batch]):  # type: ignore[misc]
    """Preference pairs, read by packs."""

    pairs: Any
    """A sequence of mappings with `prompt_ids`, `chosen_ids` and `rejected_ids`"""
    packs: Packs
    """Which pairs lie together"""
    share: bool
    """Whether both sides have one prompt together"""

    def __len__(self) -> int:
        """Pairs."""
        return len(self.pairs)

    def set_epoch(self, epoch: int) -> None:
        """Pass an epoch on to the packs: a data loader that resumes on several processes knows its data set alone."""
        self.packs.set_epoch(epoch)

    def __getitem__(self, pack: Pack) -> Batch:
        """The batch of a pack; two tokens without an answer where the pack is empty."""
        numbers = [piece.row for piece in pack]
        return batch([self.pairs[number] for number in numbers], numbers, self.share)


def batch(pairs: Sequence[Any], numbers: Sequence[int], share: bool) -> Batch:
    """Pairs behind one another as tensors.

    Args:
        pairs: mappings with `prompt_ids`, `chosen_ids` and `rejected_ids`.
        numbers: which pairs of the set they are.
        share: lay each prompt once, for both of its answers.

    Returns:
        `input_ids` and `position_ids` [1, tokens]; `answer_positions` and `answer_targets` [n]: the tokens of all
        answers and the places that they are told from; `answer_lengths`, tokens of each answer, the preferred one of a
        pair before the low one; `pairs` [pairs], their numbers; `prompts`, for `segments.sharing_prompts`.
    """
    laid = _Laid([], [], [], [], [])
    for pair in pairs:
        prompt, chosen, rejected = (list(pair[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))
        laid.document(prompt, chosen)
        if share:
            laid.second_answer(prompt, chosen, rejected)
        else:
            laid.document(prompt, rejected)
    if not pairs:  # two documents of one token: the model runs, and nothing is answered
        laid.document([0], [])
        laid.document([0], [])
    tensors = (laid.ids, laid.places, laid.positions, laid.targets)
    found: Batch = {
        name: torch.tensor(value, dtype=torch.int64) for name, value in zip(_POSITIONS, tensors, strict=True)
    }
    return {
        **found,
        "input_ids": found["input_ids"][None],
        "position_ids": found["position_ids"][None],
        "answer_lengths": tuple(len(pair[f"{side}_ids"]) for pair in pairs for side in ("chosen", "rejected")),
        "pairs": torch.tensor(list(numbers), dtype=torch.int64),
        "prompts": tuple(laid.prompts) if share and pairs else None,
    }


@dataclass(slots=True)
class _Laid:
    """A packed sequence that grows."""

    ids: list[int]
    places: list[int]
    positions: list[int]
    targets: list[int]
    prompts: list[int]

    def document(self, prompt: list[int], answer: list[int]) -> None:
        start = len(self.ids)
        self.ids += prompt + answer
        self.places += range(len(prompt) + len(answer))
        first = start + len(prompt) - 1
        self.positions += range(first, first + len(answer))
        self.targets += answer
        self.prompts.append(0)

    def second_answer(self, prompt: list[int], before: list[int], answer: list[int]) -> None:
        """Behind a document of the same prompt: its first token is told from the prompt's last one, over there."""
        start = len(self.ids)
        self.ids += answer
        self.places += range(len(prompt), len(prompt) + len(answer))
        self.positions += [start - len(before) - 1, *range(start, start + len(answer) - 1)]
        self.targets += answer
        self.prompts.append(len(prompt))
