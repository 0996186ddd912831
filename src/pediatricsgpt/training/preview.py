"""The exact tokens that a phase trains on, and which of them carry loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from pediatricsgpt.models.encode import IGNORED, Encoded, encode_answer, encode_dialogue, encode_text
from pediatricsgpt.records import read_rows
from pediatricsgpt.training.data import fit
from pediatricsgpt.training.sets import Item, read
from pediatricsgpt.training.settings import DialogueSettings, MixedSettings, PhaseSettings, SftSettings

_UNLIMITED = 1 << 40


@dataclass(slots=True)
class Sample:
    """One sequence: its id, what it is, and (text, carries loss) of each token."""

    id: str
    title: str
    tokens: list[tuple[str, bool]]

    @property
    def heading(self) -> str:
        """What it is, and how much of it carries loss."""
        carrying = sum(loss for _, loss in self.tokens)
        return f"{self.id}  {self.title}  {carrying} of {len(self.tokens)} tokens carry loss"


def render(sample: Sample, brackets: bool) -> Text:
    """The tokens as text: those that carry loss in green, or in brackets where colours cannot be seen."""
    line = Text()
    for token, loss in sample.tokens:
        shown = token.replace("\n", "⏎\n")
        line.append(f"[{shown}]" if loss and brackets else shown, style="bold green" if loss else "dim")
    return line


def samples(phase: str, path: Path, tokenizer: Any, count: int, settings: PhaseSettings | None = None) -> list[Sample]:
    """The first `count` rows of a phase's set as the trainer will see them; of a preference pair both sides.

    Args:
        phase: `cpt`, `sft`, `dfpo` or `experts`.
        path: the set that the corpus built.
        tokenizer: of the model.
        count: rows of each set.
        settings: of the phase, the paths in it absolute: rows of its own sets are shown too, and what becomes of rows
            that are longer than its max_length.
    """
    contract = {"cpt": "cpt", "dfpo": "preference"}.get(phase, "instruction")
    if contract == "preference":
        return [side for row in read_rows(path, "preference")[:count] for side in _sides(row, tokenizer)]
    mixed = settings if isinstance(settings, MixedSettings) else SftSettings(max_length=_UNLIMITED)
    found: list[Sample] = []
    shown: Counter[str] = Counter()
    for item in read(path, mixed.data, "cpt" if contract == "cpt" else "instruction")[0]:
        shown[item.label.set] += 1
        if shown[item.label.set] <= count:
            found.append((_text if contract == "cpt" else _dialogue)(item, tokenizer, mixed))
    return found


def _text(item: Item, tokenizer: Any, settings: MixedSettings) -> Sample:
    encoded = encode_text(tokenizer, item.row["text"])
    tokens = len(encoded.input_ids)
    split = f", split into {-(-tokens // settings.max_length)} pieces" if tokens > settings.max_length else ""
    return _sample(_name(item), item.label.form + split, encoded, tokenizer)


def _dialogue(item: Item, tokenizer: Any, settings: MixedSettings) -> Sample:
    """A dialogue as it is trained on; one that is left out is shown whole, without loss."""
    messages, most = item.row["messages"], settings.max_length
    policy = settings.too_long if isinstance(settings, DialogueSettings) else "drop"
    fitted = fit(tokenizer, messages, most, policy)
    title = item.label.task
    if fitted.tokens > most:
        title += f", {fitted.tokens} tokens are more than max_length {most}: "
        kept = f"cut to the first {fitted.turns} of {len(messages)} turns"
        title += kept if fitted.encoded else "an error" if policy == "error" else "left out"
    whole = fitted.encoded or encode_dialogue(tokenizer, messages)
    labels = whole.labels if fitted.encoded else [IGNORED] * len(whole.labels)
    return _sample(_name(item), title, Encoded(whole.input_ids, labels), tokenizer)


def _name(item: Item) -> str:
    return str(item.row.get("id") or item.where)


def _sides(row: dict[str, Any], tokenizer: Any) -> list[Sample]:
    sides = []
    for side in ("chosen", "rejected"):
        prompt, answer = encode_answer(tokenizer, row["prompt"], row[side][0])
        encoded = Encoded([*prompt, *answer], [IGNORED] * len(prompt) + answer)
        sides.append(_sample(row["id"], side, encoded, tokenizer))
    return sides


def _sample(row_id: str, title: str, encoded: Encoded, tokenizer: Any) -> Sample:
    """Tokens as text. One character may be several byte tokens: they are shown together, where the last one stands.

    Where what is to be learnt is not the token itself (an end that the template does not write), both are shown.
    """
    tokens: list[tuple[str, bool]] = []
    held: list[int] = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        held.append(token)
        text = tokenizer.decode(held)
        if label not in (IGNORED, token):
            text = f"{tokenizer.decode([label])}←{text}"
        if not text.endswith("\ufffd"):
            tokens.append((text, label != IGNORED))
            held = []
    return Sample(row_id, title, tokens)
