"""Recordings of consultations: speech -> words with times -> speaker turns -> a dialogue.

A recording is one record. Its locator tells where everything comes from: `seconds` is where the first turn begins, and
`section` lists the turns with who speaks, from when to when, and how sure the recogniser was, and what the lexicon
pass replaced: `家长 0.0-8.0 (0.88); 医生 8.4-14.0 (0.52, review) | 黄胆->黄疸 at 8.9`. Both stay with every row that is
made of the record. Turns marked `review` should be listened to before the row is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.lexicon import Lexicon, correct, load_lexicon
from pediatricsgpt.corpus.sources.speakers import caregiver_speaks
from pediatricsgpt.corpus.sources.speech import RATE, Piece, Samples, find_speech, load_model, read_audio, transcribe
from pediatricsgpt.records import Locator, Message, Step
from pediatricsgpt.text import segmenter

REVIEW_CONFIDENCE = 0.8
"""Turns whose mean probability over their characters is lower are marked for review.

With whisper-base, turns at 0.89 and above had hardly an error, those at 0.8 to 0.87 one character in ten, and the one
below said something else.
"""
MIN_CONFIDENCE = 0.4
"""A recording whose mean over all is lower is rejected: noise, another language, singing"""
_NAMES = {"user": "家长", "assistant": "医生"}
_ENDS = "，。！？；：、,.!?;:"
_FULL_WIDTH = str.maketrans(",!?;:", "，！？；：")
_NEW_SENTENCE = 0.5  # seconds


@dataclass(slots=True)
class Turn:
    """What one speaker says before the other does; times in seconds, confidence 0 to 1."""

    role: str
    start: float
    end: float
    text: str
    confidence: float
    corrections: list[str]

    @property
    def review(self) -> bool:
        """Whether somebody should listen to it."""
        return self.confidence < REVIEW_CONFIDENCE

    def __str__(self) -> str:
        mark = ", review" if self.review else ""
        return f"{_NAMES[self.role]} {self.start:.1f}-{self.end:.1f} ({self.confidence:.2f}{mark})"


def read_recording(file: SourceFile) -> Result:
    """The dialogue of a `.wav`, `.flac` or `.mp3` file, or why there is none.

    Rejects: no speech; low confidence; only one speaker; and what a caregiver says after the doctor's last turn.

    Raises:
        UserError: `speech_model` is missing or no model, the lexicon cannot be read, the file is no audio or cut off,
            or the extra `speech` is missing.
    """
    folder = file.settings.speech_model
    if folder is None:
        raise file.error("a recording needs speech_model: the folder of a CTranslate2 Whisper model")
    model = load_model(folder)
    lexicon = load_lexicon(file.settings.lexicon)
    samples = read_audio(file.path)
    file.rows.read += 1
    turns = write_down(listen(model, samples), lexicon)
    reason = _refusal(turns, len(samples) / RATE)
    if reason:
        return [], [file.reject(reason, _plain(turns) or None)]
    file.rows.used += 1
    last = max(place for place, turn in enumerate(turns) if turn.role == "assistant") + 1
    said, rest = turns[:last], turns[last:]
    record = file.record(
        group=f"recording:{file.digest[:16]}",
        locator=Locator(seconds=round(said[0].start, 2), section=_section(said)),
        messages=[Message(role=turn.role, content=turn.text) for turn in said],
    )
    record.steps += [Step("transcribe"), Step("lexicon")]
    if any(turn.review for turn in said):
        record.steps.append(Step("review"))
    rejects = []
    if rest:
        file.rows.read += 1
        rejects.append(
            file.reject(f"no answer: nothing follows the caregiver's turn at {rest[0].start:.1f} s", _plain(rest))
        )
    return [record], rejects


def located(settings: SourceSettings, base: Path) -> SourceSettings:
    """The settings with the model's folder and the own lexicon as paths from `base`, the recipe's folder."""
    paths = {name: getattr(settings, name) for name in ("speech_model", "lexicon")}
    return settings.model_copy(update={name: base / path for name, path in paths.items() if path is not None})


Spoken = tuple[str, list[Piece]]
"""A role, and the pieces of speech that it says one after the other."""


def listen(model: Any, samples: Samples) -> list[Spoken]:
    """Who says what, as it was heard.

    Args:
        model: what `load_model` gives.
        samples: shape [samples], 16 kHz, -1 to 1.
    """
    pieces = find_speech(samples)
    transcribe(model, samples, pieces)
    pieces = [piece for piece in pieces if any(character.isalnum() for character in piece.text)]
    cut = [samples[int(piece.start * RATE) : int(piece.end * RATE)].astype(float) for piece in pieces]
    pauses = [0.0, *(after.start - before.end for before, after in pairwise(pieces))][: len(pieces)]
    caregiver = caregiver_speaks(cut, [simplified(piece.text) for piece in pieces], pauses)
    spoken: list[Spoken] = []
    for piece, role in zip(pieces, ("user" if one else "assistant" for one in caregiver), strict=True):
        if spoken and spoken[-1][0] == role:
            spoken[-1][1].append(piece)
        else:
            spoken.append((role, [piece]))
    return spoken


def write_down(spoken: Sequence[Spoken], lexicon: Lexicon | None) -> list[Turn]:
    """The turns in simplified characters; with a lexicon medical homophones are made right."""
    return [_turn(role, pieces, lexicon) for role, pieces in spoken]


def simplified(text: str) -> str:
    """The text in simplified characters, one for one."""
    from opencc import OpenCC

    return "".join(OpenCC("t2s").convert(text))


def _turn(role: str, pieces: Sequence[Piece], lexicon: Lexicon | None) -> Turn:
    text, confidence, times = "", list[float](), list[float]()
    for place, piece in enumerate(pieces):
        for word in piece.words:
            written = simplified(word.text).translate(_FULL_WIDTH)
            text += written
            confidence += [word.probability] * len(written)
            times += [word.start] * len(written)
        pause = pieces[place + 1].start - piece.end if place + 1 < len(pieces) else 0.0
        if pause > _NEW_SENTENCE and text[-1] not in _ENDS and _ends_phrase(text):
            text, confidence, times = f"{text}，", [*confidence, confidence[-1]], [*times, times[-1]]
    said = [chance for character, chance in zip(text, confidence, strict=True) if character.isalnum()]
    corrections = []
    if lexicon is not None:
        text, found = correct(text, lexicon, confidence)
        corrections = [f"{one.heard}->{one.meant} at {times[one.start]:.1f}" for one in found]
    text = text if text[-1] in "。！？" else f"{text.rstrip(_ENDS)}。"
    return Turn(role, pieces[0].start, pieces[-1].end, text, sum(said) / len(said), corrections)


def _ends_phrase(text: str) -> bool:
    """Whether no word is cut where the text ends: its last characters are a word of the dictionary."""
    words = list(segmenter().cut(text[-8:], HMM=False))
    return len(words[-1]) > 1


def _refusal(turns: Sequence[Turn], seconds: float) -> str:
    if not turns:
        return f"no speech: nobody speaks in the {seconds:.1f} s of this recording, or nothing was understood"
    whole = sum(turn.confidence * len(turn.text) for turn in turns) / sum(len(turn.text) for turn in turns)
    if whole < MIN_CONFIDENCE:
        return f"low confidence: {whole:.2f} on average over {len(turns)} turns, {MIN_CONFIDENCE} needed"
    roles = {turn.role for turn in turns}
    if len(roles) < 2:
        missing = _NAMES["assistant" if "user" in roles else "user"]
        return f"one speaker: no dialogue, {missing} is not heard"
    if turns[0].role == "assistant" and roles == {"user", "assistant"} and _answers_nothing(turns):
        return "no answer: the doctor says nothing after the caregiver"
    return ""


def _answers_nothing(turns: Sequence[Turn]) -> bool:
    """Whether no doctor's turn follows a caregiver's."""
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    return all(turn.role == "user" for turn in turns[first:])


def _section(turns: Sequence[Turn]) -> str:
    changed = "; ".join(change for turn in turns for change in turn.corrections)
    return "; ".join(map(str, turns)) + (f" | {changed}" if changed else "")


def _plain(turns: Sequence[Turn]) -> str:
    return "\n".join(f"{turn}: {turn.text}" for turn in turns)
