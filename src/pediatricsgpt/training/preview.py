"""The exact tokens that a phase trains on, and which of them carry loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from pediatricsgpt.models.encode import IGNORED, Encoded, encode_answer, encode_dialogue, encode_text
from pediatricsgpt.records import read_rows


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


def samples(phase: str, path: Path, tokenizer: Any, count: int) -> list[Sample]:
    """The first `count` rows of a phase's set as the trainer will see them; of a preference pair both sides."""
    contract = {"cpt": "cpt", "dfpo": "preference"}.get(phase, "instruction")
    found: list[Sample] = []
    for row in read_rows(path, contract)[:count]:  # type: ignore[arg-type]
        found += _samples_of(row, contract, tokenizer)
    return found


def _samples_of(row: dict[str, Any], contract: str, tokenizer: Any) -> list[Sample]:
    if contract == "cpt":
        return [_sample(row["id"], row["form"], encode_text(tokenizer, row["text"]), tokenizer)]
    if contract == "instruction":
        return [_sample(row["id"], row["task"], encode_dialogue(tokenizer, row["messages"]), tokenizer)]
    sides = []
    for side in ("chosen", "rejected"):
        prompt, answer = encode_answer(tokenizer, row["prompt"], row[side][0])
        encoded = Encoded([*prompt, *answer], [IGNORED] * len(prompt) + answer)
        sides.append(_sample(row["id"], side, encoded, tokenizer))
    return sides


def _sample(row_id: str, title: str, encoded: Encoded, tokenizer: Any) -> Sample:
    """Tokens as text. One character may be several byte tokens: they are shown together, where the last one stands."""
    tokens: list[tuple[str, bool]] = []
    held: list[int] = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        held.append(token)
        text = tokenizer.decode(held)
        if not text.endswith("\ufffd"):
            tokens.append((text, label != IGNORED))
            held = []
    return Sample(row_id, title, tokens)
