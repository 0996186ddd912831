"""A named-entity model beside the rules: a local folder of a transformers token-classification model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.deidentify.find import Finding
from pediatricsgpt.errors import UserError, require_extra

_PERSON = ("PER", "NAME", "NR")


class TokenClassifier:
    """Finds the persons that a model sees. Never needed; what it finds is added to what the rules find.

    Args:
        folder: configuration, weights and fast tokenizer. Labels that contain PER, NAME or NR are persons, with or
            without B-, I-, E-, S- before them. Nothing is ever downloaded.

    Raises:
        UserError: the folder holds no such model, or none of its labels is a person.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoModelForTokenClassification, AutoTokenizer
        except ImportError as error:
            raise require_extra("train", error) from error
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise UserError(f"no token-classification model: {str(error).splitlines()[0]}", folder) from error
        labels: dict[int, str] = self._model.config.id2label
        self._persons = {number for number, label in labels.items() if any(mark in label.upper() for mark in _PERSON)}
        if not self._persons:
            raise UserError(f"no label of the model is a person (PER, NAME, NR): {', '.join(labels.values())}", folder)
        if not self._tokenizer.is_fast:
            raise UserError("the model's tokenizer gives no character positions; it needs tokenizer.json", folder)

    def __call__(self, text: str) -> list[Finding]:
        """The persons in a text; a longer text than the model reads is read in windows that overlap by half."""
        import torch

        if not text.strip():
            return []
        limit = min(self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", 512) - 2)
        pieces = self._tokenizer(
            text,
            return_offsets_mapping=True,
            truncation=True,
            max_length=limit,
            stride=limit // 2,
            return_overflowing_tokens=True,
        )
        marked = [False] * len(text)
        for ids, offsets in zip(pieces["input_ids"], pieces["offset_mapping"], strict=True):
            with torch.no_grad():
                best = self._model(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
            for label, (start, end) in zip(best, offsets, strict=True):
                if label in self._persons:
                    marked[start:end] = [True] * (end - start)
        return _runs(text, marked)


def _runs(text: str, marked: list[bool]) -> list[Finding]:
    """Each unbroken run of marked characters as one finding."""
    found, start = [], None
    for position, mark in enumerate([*marked, False]):
        if mark and start is None:
            start = position
        elif not mark and start is not None:
            found.append(Finding(start, position, "name", text[start:position]))
            start = None
    return found
